"""SMAC's multi-fidelity facade: Hyperband with a random forest that proposes configurations.

Its forest uses all cores unless LOKY_MAX_CPU_COUNT is 1, and each new batch of configurations takes seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from smac import MultiFidelityFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue

from benchmarks.peers.blackbox import BudgetSpent, Parameter, Replay
from benchmarks.peers.fidelity import Incumbent, fidelity_of


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent, on the target's epochs or on the given proxies."""
    fidelity, incumbent = fidelity_of(replay, rungs), Incumbent(replay)
    configurations: dict[Any, int] = {}  # of the table, by what SMAC proposed
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            _space(replay.box.space),
            output_directory=Path(folder),
            min_budget=1,
            max_budget=fidelity.top,
            seed=seed,
        )
        search = MultiFidelityFacade(scenario, target_function=_never, overwrite=True, logging_level=False)
        try:
            while True:
                trial: TrialInfo = search.ask()
                if trial.config not in configurations:
                    configurations[trial.config] = fidelity.propose(_values(trial.config), trial.budget)
                configuration = configurations[trial.config]
                value = fidelity.value(configuration, trial.budget)
                search.tell(trial, TrialValue(cost=-value), save=False)
                incumbent.add(configuration, value, trial.budget)
        except (BudgetSpent, StopIteration):  # the second if it has no new configuration left
            return


def _never(config: Any, seed: int = 0, budget: float = 0.0) -> float:
    """SMAC wants a function to call, and checks its arguments; here it is asked and told instead."""
    raise NotImplementedError


def _space(space: tuple[Parameter, ...]) -> ConfigurationSpace:
    found = ConfigurationSpace()
    found.add([_hyperparameter(each) for each in space])
    return found


def _hyperparameter(parameter: Parameter) -> Any:
    if parameter.kind == "categorical":
        # As text, since the library turns choices of several types into one.
        return Categorical(parameter.name, [str(each) for each in parameter.choices])
    if parameter.kind == "int":
        return Integer(parameter.name, (int(parameter.low), int(parameter.high)), log=parameter.log)
    return Float(parameter.name, (parameter.low, parameter.high), log=parameter.log)


def _values(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {name: configuration[name] for name in configuration}
