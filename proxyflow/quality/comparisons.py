"""Which of two proxies of like cost is better: differences on the same bootstrap samples, which decide more than two
intervals side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd

from proxyflow.quality.bootstrap import Draws, percentile
from proxyflow.quality.measured import MEASURES, Measured, measure
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import OF_MEANS, over_seeds, several

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
]
# Two costs are alike where the larger is at most so many times the smaller: the published study's equal-sized subsets
# differ by as much.
LIKE = 1.35
COMPARED = ("r2", "spearman")


def compare_strategies(measured: Mapping[str, Measured], draws: Draws | None, options: QualityOptions) -> pd.DataFrame:
    """Every two proxies of like cost, compared on the pairs that both have; with several seeds also on the means.

    An r2 whose correlation is the wrong way round counts as negative: such a proxy misleads, and the more so the larger
    its r2.

    Returns:
        Columns `COMPARISON_COLUMNS`, the better one first; `measure` ends in `OF_MEANS` where it is over means over
        seeds; `probability` is the share of the bootstrap samples in
        which it is better, half of those that tie counted. Empty without a bootstrap.
    """
    if draws is None:
        return pd.DataFrame([], columns=COMPARISON_COLUMNS)
    rows = []

    @cache
    def means_of(name: str) -> Measured:
        return measure(over_seeds(measured[name].pairs), draws, options, COMPARED)

    for one, other in combinations([name for name in measured if name != TARGET], 2):
        costs = [measured[name].estimates["relative_cost"].value for name in (one, other)]
        if not (np.isfinite(costs).all() and min(costs) > 0 and max(costs) <= LIKE * min(costs)):
            continue
        sides = _on_common_pairs(measured[one], measured[other], draws, options)
        for name in COMPARED:
            rows += _compare(name, "", (one, other), costs, sides, options)
        if several(sides[0].pairs):
            means = [
                means_of(name) if side is measured[name] else measure(over_seeds(side.pairs), draws, options, COMPARED)
                for name, side in zip((one, other), sides, strict=True)
            ]
            for name in COMPARED:
                rows += _compare(name, OF_MEANS, (one, other), costs, means, options)
    table = pd.DataFrame(rows, columns=COMPARISON_COLUMNS)
    return table.sort_values(["measure", "relative_cost", "strategy", "other"], kind="stable", ignore_index=True)


def _on_common_pairs(
    one: Measured, other: Measured, draws: Draws, options: QualityOptions
) -> tuple[Measured, Measured]:
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
    sides: Sequence[Measured],
    options: QualityOptions,
) -> list[tuple[object, ...]]:
    if not all(name in side.samples for side in sides):
        return []
    formula, signed = MEASURES[name].formula, MEASURES[name].signed
    values = [float(signed(formula(side.pairs, np.ones((1, len(side.pairs.frame))), options))[0]) for side in sides]
    order = (0, 1) if values[0] >= values[1] else (1, 0)
    left, right = (signed(sides[i].samples[name]) for i in order)
    difference = left - right
    defined = difference[np.isfinite(difference)]
    if not len(defined):
        return []
    probability = float(np.mean(defined > 0) + np.mean(defined == 0) / 2)
    return [
        (
            *(strategies[i] for i in order),
            *(costs[i] for i in order),
            f"{name}{suffix}",
            values[order[0]] - values[order[1]],
            *percentile(defined),
            probability,
            len(sides[0].pairs.frame),
        )
    ]
