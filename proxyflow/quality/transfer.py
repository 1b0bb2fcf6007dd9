"""Do measures on one part of a study hold on another (Shleifer & Prokop 2019, section 4 and figure 3)?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from proxyflow.quality.bootstrap import Draws, Estimate, centred
from proxyflow.quality.costs import curve_for, distances
from proxyflow.quality.measures import MIN_PAIRS, Floats
from proxyflow.quality.options import Families, QualityOptions
from proxyflow.quality.pairs import Pairs
from proxyflow.quality.runs import TARGET
from proxyflow.quality.strategy_measures import MEASURES, StrategyMeasures, measure

PART_COLUMNS = ["split", "part", "strategy", "family", "r2", "spearman", "cost_adjusted_r2", "n_pairs"]
TRANSFER_COLUMNS = ["split", "left", "right", "measure", "correlation", "low", "high", "n_strategies"]
# What splits a study, and the column with each pair's part.
SPLITS = {"dataset": "dataset", "group": "config_group"}
MEASURED = ("r2", "spearman", "relative_cost")
# Enough for intervals that are only shown; there are many parts.
SAMPLES = 250
TRANSFERRED = ("r2", "spearman", "cost_adjusted_r2")


@dataclass(frozen=True, eq=False)
class Part:
    """The measures of all proxies on one part.

    Attributes:
        values: measure of `TRANSFERRED` to `(proxies,)`, nan where undefined.
        samples: the same to `(samples, proxies)`, empty without a bootstrap.
        n_pairs: `(proxies,)`.
    """

    split: str
    name: str
    values: dict[str, Floats]
    samples: dict[str, Floats]
    n_pairs: list[int]


def measure_parts(
    pairs: Mapping[str, Pairs], draws: Draws | None, options: QualityOptions, families: Families
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every measure on each data set and on each group of configurations alone, and how they agree.

    Args:
        pairs: strategy to its pairs; the target, which is perfect on every part, is left out.

    Returns:
        `parts` with columns `PART_COLUMNS` and `transfer` with columns `TRANSFER_COLUMNS`: for each two parts of a
        split the correlation over the strategies that both have a value of, missing below 3 strategies. Both are empty
        where nothing can be split.
    """
    proxies = {name: matched for name, matched in pairs.items() if name != TARGET}
    draws = draws and draws.first(SAMPLES)
    parts = list(_parts(proxies, draws, options, families))
    rows = [
        (part.split, part.name, strategy, families.family_of(strategy), *(part.values[m][i] for m in TRANSFERRED), n)
        for part in parts
        for i, (strategy, n) in enumerate(zip(proxies, part.n_pairs, strict=True))
    ]
    agreements = [
        (left.split, left.name, right.name, name, *_agreement(left, right, name))
        for split in SPLITS
        for left, right in combinations([part for part in parts if part.split == split], 2)
        for name in TRANSFERRED
    ]
    return pd.DataFrame(rows, columns=PART_COLUMNS), pd.DataFrame(agreements, columns=TRANSFER_COLUMNS)


def _parts(
    proxies: Mapping[str, Pairs], draws: Draws | None, options: QualityOptions, families: Families
) -> Iterator[Part]:
    synthetic = np.array([families.is_synthetic(name) for name in proxies], dtype=bool)
    for split, column in SPLITS.items():
        names = sorted({name for matched in proxies.values() for name in matched.frame[column].unique()})
        if len(names) < 2:
            continue
        for name in names:
            of_part = [each.where((each.frame[column] == name).to_numpy()) for each in proxies.values()]
            measured = [measure(each, draws, options, MEASURED) for each in of_part]
            yield _part(split, str(name), measured, synthetic, options)


def _part(
    split: str, name: str, measured: list[StrategyMeasures], synthetic: np.ndarray, options: QualityOptions
) -> Part:
    values = {m: np.array([each.estimates[m].value for each in measured]) for m in MEASURED}
    sampled = max((len(each) for one in measured for each in one.samples.values()), default=0)
    blank = np.full(sampled, np.nan)
    samples = {
        m: np.stack([MEASURES[m].value(each.samples.get(m, blank)) for each in measured], axis=1) for m in MEASURED
    }
    curve = curve_for(values["relative_cost"][~synthetic], values["r2"][~synthetic], options.cost_curve)
    unknown = np.full(len(measured), np.nan)
    values["cost_adjusted_r2"] = unknown if curve is None else values["r2"] - curve(values["relative_cost"])
    samples["cost_adjusted_r2"] = distances(samples["relative_cost"], samples["r2"], synthetic, options.cost_curve)
    return Part(split, name, values, samples, [len(each.pairs.frame) for each in measured])


def _agreement(left: Part, right: Part, name: str) -> tuple[float, float, float, int]:
    x, y = left.values[name], right.values[name]
    known = np.isfinite(x) & np.isfinite(y)
    n = int(known.sum())
    estimate = Estimate(float(correlations(x[None, known], y[None, known])[0]))
    if len(left.samples[name]) and np.isfinite(estimate.value):
        spread = correlations(left.samples[name][:, known], right.samples[name][:, known])
        estimate = Estimate(estimate.value, *centred(spread, estimate.value))
    return estimate.value, estimate.low, estimate.high, n


def correlations(x: Floats, y: Floats) -> Floats:
    """Pearson correlation of each row, `(samples,)`; columns that are nan on either side are left out of that row."""
    known = np.isfinite(x) & np.isfinite(y)
    n = known.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (np.where(known, side - np.where(known, side, 0).sum(axis=1, keepdims=True) / n, 0) for side in (x, y))
        value = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(n[:, 0] >= MIN_PAIRS, np.clip(value, -1, 1), np.nan)
