"""Optuna's default search, TPE on full trainings: what most people run.

The first ten trials are random, so that the sampler only begins to choose with a budget above ten full trainings.
"""

from __future__ import annotations

from typing import Any

import optuna

from benchmarks.peers.blackbox import BudgetSpent, Replay
from benchmarks.peers.fidelity import Incumbent


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent. It has no rungs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    incumbent = Incumbent(replay)
    try:
        while True:
            trial = study.ask()
            configuration = replay.propose(suggested(trial, replay))
            value = replay.train(configuration)
            study.tell(trial, value)
            incumbent.add(configuration, value)
    except BudgetSpent:
        return


def suggested(trial: optuna.Trial, replay: Replay) -> dict[str, Any]:
    """The values that a trial proposes."""
    values: dict[str, Any] = {}
    for each in replay.box.space:
        if each.kind == "categorical":
            values[each.name] = trial.suggest_categorical(each.name, each.choices)
        elif each.kind == "int":
            values[each.name] = trial.suggest_int(each.name, int(each.low), int(each.high), log=each.log)
        else:
            values[each.name] = trial.suggest_float(each.name, each.low, each.high, log=each.log)
    return values
