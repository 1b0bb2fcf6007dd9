"""Syne Tune's ASHA, its default for trainings that report every epoch.

It stops a training that is not among the best third of its rung, and never goes on with one that it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform
from syne_tune.optimizer.baselines import ASHA
from syne_tune.optimizer.scheduler import SchedulerDecision

from benchmarks.peers.blackbox import BudgetSpent, Parameter, Replay
from benchmarks.peers.fidelity import Fidelity, Incumbent, fidelity_of


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent, on the target's epochs or on the given proxies."""
    run_scheduler(ASHA, replay, seed, rungs)


def run_scheduler(scheduler: Callable[..., Any], replay: Replay, seed: int, rungs: tuple[str, ...]) -> None:
    """Replays any of the schedulers that stop trainings at rungs, with their defaults and one worker."""
    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    np.random.seed(seed)  # brackets are drawn from the global generator
    fidelity, incumbent = fidelity_of(replay, rungs), Incumbent(replay)
    space = {each.name: _domain(each) for each in replay.box.space}
    chosen = scheduler(
        config_space=space, metric="value", time_attr="budget", max_t=fidelity.top, do_minimize=False, random_seed=seed
    )
    number = 0
    try:
        while True:
            _trial(chosen, number, fidelity, incumbent)
            number += 1
    except BudgetSpent:
        return


def _trial(scheduler: Any, number: int, fidelity: Fidelity, incumbent: Incumbent) -> None:
    values = scheduler.suggest().config
    trial = Trial(trial_id=number, config=values, creation_time=datetime.now())
    scheduler.on_trial_add(trial)
    configuration = fidelity.propose(values, fidelity.budgets[0])
    for budget in fidelity.budgets:
        result = {"value": fidelity.value(configuration, budget), "budget": budget}
        incumbent.add(configuration, result["value"], budget)
        if scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
            # What the tuner does with a training that it stopped, or that has reached the last rung.
            scheduler.on_trial_remove(trial)
            return


def _domain(parameter: Parameter) -> Any:
    if parameter.kind == "categorical":
        return choice(list(parameter.choices))
    if parameter.kind == "int":
        return (lograndint if parameter.log else randint)(int(parameter.low), int(parameter.high))
    return (loguniform if parameter.log else uniform)(parameter.low, parameter.high)
