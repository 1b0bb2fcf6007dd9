"""Optuna's TPE with its Hyperband pruner, which it recommends for trainings that report values on their way.

Optuna's bracket of a trial is a hash of the study's name and the trial's number, hence a name for each seed.
"""

from __future__ import annotations

import optuna

from benchmarks.peers.blackbox import BudgetSpent, Replay
from benchmarks.peers.fidelity import Fidelity, Incumbent, fidelity_of
from benchmarks.peers.optuna_tpe import suggested


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent, on the target's epochs or on the given proxies."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    fidelity = fidelity_of(replay, rungs)
    study = optuna.create_study(
        study_name=f"seed {seed}",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=fidelity.top, reduction_factor=3),
    )
    incumbent = Incumbent(replay)
    try:
        while True:
            _trial(study, replay, fidelity, incumbent)
    except BudgetSpent:
        return


def _trial(study: optuna.Study, replay: Replay, fidelity: Fidelity, incumbent: Incumbent) -> None:
    trial = study.ask()
    configuration = fidelity.propose(suggested(trial, replay), fidelity.budgets[0])
    for budget in fidelity.budgets:
        value = fidelity.value(configuration, budget)
        incumbent.add(configuration, value, budget)
        trial.report(value, step=budget)
        if budget < fidelity.top and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    study.tell(trial, value)
