"""NePS' PriorBand: Hyperband that also draws around a default, as users have one in mind.

The default is the table's configuration 0, with medium confidence. NePS draws from the global generators.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import neps
import numpy as np
import torch

from benchmarks.peers.blackbox import BudgetSpent, Parameter, Replay
from benchmarks.peers.fidelity import Incumbent, fidelity_of

BUDGET = "budget"
CONFIDENCE = "medium"


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent, on the target's epochs or on the given proxies."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    fidelity, incumbent = fidelity_of(replay, rungs), Incumbent(replay)
    space = _space(replay.box.space, replay.box.configurations[0], fidelity.top)
    search = neps.AskAndTell(neps.algorithms.priorband(space))
    configurations: dict[str, int] = {}  # of the table, by the number that NePS gave
    try:
        while True:
            trial = search.ask()
            number, budget = trial.id.split("_rung_")[0], trial.config[BUDGET]
            if number not in configurations:
                configurations[number] = fidelity.propose(_values(trial.config, replay.box.space), budget)
            value = fidelity.value(configurations[number], budget)
            search.tell(trial, -value)
            incumbent.add(configurations[number], value, budget)
    except BudgetSpent:
        return


def _space(space: tuple[Parameter, ...], default: Mapping[str, Any], top: int) -> neps.PipelineSpace:
    domains = {each.name: _domain(each, default[each.name]) for each in space}
    domains[BUDGET] = neps.IntegerFidelity(lower=1, upper=top)
    # NePS reads a space off the attributes of a class.
    return type("Space", (neps.PipelineSpace,), domains)()


def _domain(parameter: Parameter, default: Any) -> Any:
    if parameter.kind == "categorical":
        texts = [str(each) for each in parameter.choices]
        return neps.Categorical(texts, prior=texts.index(str(default)), prior_confidence=CONFIDENCE)
    kind = neps.Integer if parameter.kind == "int" else neps.Float
    bounds = (int(parameter.low), int(parameter.high)) if kind is neps.Integer else (parameter.low, parameter.high)
    return kind(*bounds, log=parameter.log, prior=default, prior_confidence=CONFIDENCE)


def _values(proposed: Mapping[str, Any], space: tuple[Parameter, ...]) -> dict[str, Any]:
    return {each.name: proposed[each.name] for each in space}
