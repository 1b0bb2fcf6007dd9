"""Which of two proxies of similar cost is better: differences on the same bootstrap samples, which decide more than
comparing two intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.bootstrap import Draws
from proxyflow.quality.influence import centre, decisive_configurations
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import OF_MEANS, has_several_seeds, mean_over_seeds
from proxyflow.quality.strategy_measures import MEASURES, StrategyMeasures, measure

COMPARISON_COLUMNS = [
    "strategy",
    "other",
    "relative_cost",
    "other_relative_cost",
    "measure",
    "difference",
    "low",
    "high",
    "probability",
    "n_pairs",
    "depends_on",
]
# Two costs are similar where the larger is at most this many times the smaller: the costs of equal-sized subsets differ
# by as much in the published study.
SIMILAR = 1.35
COMPARED = ("r2", "spearman", "kendall")
JOINED = " | "


def compare_strategies(
    measured: Mapping[str, StrategyMeasures], draws: Draws | None, options: QualityOptions
) -> pd.DataFrame:
    """Every two proxies of similar cost, compared on the pairs that both have; with several seeds also on the means.

    An r2 whose correlation is negative counts as negative: the larger it is, the more such a proxy misleads.

    Returns:
        Columns `COMPARISON_COLUMNS`, the better one first; `measure` ends in `OF_MEANS` where it is over means over
        seeds; `probability` is the share of the bootstrap samples in
        which it is better, half of those that tie counted; `depends_on` names the configurations, joined by " | ",
        without any one of which the difference would be on one side of 0 and is not, or the other way round. Empty
        without a bootstrap.
    """
    if draws is None:
        return pd.DataFrame([], columns=COMPARISON_COLUMNS)
    rows = []

    @cache
    def means_of(name: str) -> StrategyMeasures:
        return measure(mean_over_seeds(measured[name].pairs), draws, options, COMPARED)

    for one, other in combinations([name for name in measured if name != TARGET], 2):
        costs = [measured[name].estimates["relative_cost"].value for name in (one, other)]
        if not (np.isfinite(costs).all() and min(costs) > 0 and max(costs) <= SIMILAR * min(costs)):
            continue
        sides = _on_common_pairs(measured[one], measured[other], draws, options)
        for name in COMPARED:
            rows += _compare(name, "", (one, other), costs, sides, draws)
        if has_several_seeds(sides[0].pairs):
            means = [
                means_of(name)
                if side is measured[name]
                else measure(mean_over_seeds(side.pairs), draws, options, COMPARED)
                for name, side in zip((one, other), sides, strict=True)
            ]
            for name in COMPARED:
                rows += _compare(name, OF_MEANS, (one, other), costs, means, draws)
    table = pd.DataFrame(rows, columns=COMPARISON_COLUMNS)
    return table.sort_values(["measure", "relative_cost", "strategy", "other"], kind="stable", ignore_index=True)


def _on_common_pairs(
    one: StrategyMeasures, other: StrategyMeasures, draws: Draws, options: QualityOptions
) -> tuple[StrategyMeasures, StrategyMeasures]:
    keys = [each.pairs.keys for each in (one, other)]
    if keys[0].equals(keys[1]):
        return one, other
    common = keys[0].intersection(keys[1])
    left, right = (
        measure(each.pairs.where(key.isin(common)), draws, options, COMPARED)
        for each, key in zip((one, other), keys, strict=True)
    )
    return left, right


def _compare(
    name: str,
    suffix: str,
    strategies: tuple[str, str],
    costs: list[float],
    sides: Sequence[StrategyMeasures],
    draws: Draws,
) -> list[tuple[object, ...]]:
    if not all(name in side.samples for side in sides):
        return []
    found = [side.signed(name) for side in sides]
    order = (0, 1) if found[0][0] >= found[1][0] else (1, 0)
    (one, left), (other, right) = (found[i] for i in order)
    difference, value = left - right, one - other
    defined = difference[np.isfinite(difference)]
    if not len(defined):
        return []
    probability = float(np.mean(defined > 0) + np.mean(defined == 0) / 2)
    frame = sides[0].pairs.frame

    def side_of_0(used: NDArray[np.bool_]) -> int:
        """The side of 0 on which the interval over these samples lies, 0 where it holds 0."""
        low, high = MEASURES[name].difference(difference[used], centre(difference, used, value))
        return int(low > 0) - int(high < 0)

    return [
        (
            *(strategies[i] for i in order),
            *(costs[i] for i in order),
            f"{name}{suffix}",
            value,
            *MEASURES[name].difference(defined, value),
            probability,
            len(frame),
            JOINED.join(decisive_configurations(draws, frame, side_of_0)),
        )
    ]
