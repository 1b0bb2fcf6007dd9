"""FLAML's BlendSearch on growing samples of the data, the one package that offers samples as its resource.

Costs are given in full trainings, as the time of a replay says nothing. The search is passed as an instance, since
`tune.run` fixes the seed of the one that it makes.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import Any

from flaml import tune
from flaml.tune.searcher.blendsearch import BlendSearch

from benchmarks.peers.blackbox import TARGET, BudgetSpent, Parameter, Replay
from benchmarks.peers.fidelity import Incumbent

RESOURCE = "sample"
FACTOR = 4  # FLAML's default factor from one sample to the next
_RANDOM = re.compile(r"random:([0-9.]+)")


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent.

    The resource is the share of the data, from the smallest random sample of the table to all of it, and stands for
    the sample whose share is nearest; or it is the place in the given proxies, from cheap to full.
    """
    shares = {FACTOR**rung: proxy for rung, proxy in enumerate(rungs)} if rungs else samples_of(replay.box.proxies)
    incumbent = Incumbent(replay)
    configurations: dict[str, int] = {}  # of the table, by what FLAML proposed: a larger sample trains the same one

    def trained(proposed: Mapping[str, Any]) -> dict[str, float] | None:
        values = dict(proposed)
        sample = values.pop(RESOURCE)
        share = min(shares, key=lambda each: abs(math.log(each / sample)))
        if str(values) not in configurations:
            configurations[str(values)] = replay.propose(values, shares[share])
        configuration = configurations[str(values)]
        try:
            value = replay.train(configuration, shares[share])
        except BudgetSpent:
            return None  # which ends the search
        incumbent.add(configuration, value, share)
        # Its price even where the replay gives it for free: FLAML only enlarges the sample as costs add up.
        return {"value": value, "cost": replay.price(configuration, shares[share])}

    for name in ("flaml", "optuna"):
        logging.getLogger(name).setLevel(logging.ERROR)
    search = BlendSearch(
        metric="value",
        mode="max",
        space={each.name: _domain(each) for each in replay.box.space},
        resource_attr=RESOURCE,
        min_resource=min(shares),
        max_resource=max(shares),
        seed=seed,
        cost_attr="cost",
    )
    tune.run(trained, search_alg=search, metric="value", mode="max", num_samples=-1, verbose=0)


def samples_of(proxies: tuple[str, ...]) -> dict[float, str]:
    """The table's random samples by their share of the data, with all of it."""
    found = {float(match[1]): proxy for proxy in proxies if (match := _RANDOM.fullmatch(proxy))}
    return dict(sorted(found.items())) | {1.0: TARGET}


def _domain(parameter: Parameter) -> Any:
    if parameter.kind == "categorical":
        return tune.choice(list(parameter.choices))
    low, high = parameter.low, parameter.high
    if parameter.kind == "int":
        return (tune.lograndint if parameter.log else tune.randint)(int(low), int(high) + 1)  # high is left out
    return (tune.loguniform if parameter.log else tune.uniform)(low, high)
