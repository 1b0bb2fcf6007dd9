"""One strategy's measures with their bootstrap samples; every measure is one entry of a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from proxyflow.core.registry import Registry
from proxyflow.quality import measures
from proxyflow.quality.bootstrap import (
    Draws,
    Estimate,
    bias_corrected,
    percentile,
    squared,
    stretched,
    stretched_correlation,
)
from proxyflow.quality.measures import TOP, Floats, Values
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs

Formula = Callable[[Pairs, Floats, QualityOptions], Floats]
# Bootstrap samples, the value, and the value without each configuration.
Interval = Callable[[Floats, float, Floats], tuple[float, float]]


@dataclass(frozen=True)
class QualityMeasure:
    """A number that every strategy has.

    Attributes:
        meaning: what it is, in a sentence.
        formula: pairs and weights `(samples, pairs)` to values `(samples,)`.
        interval: bootstrap values, the value, and the value without each configuration to the ends of its interval.
        square: the value is the formula's square, whose sign is kept for the interval.
        jackknife: the interval takes the value without each configuration, which is computed for those alone.
    """

    meaning: str
    formula: Formula
    interval: Interval
    square: bool = False
    jackknife: bool = False

    def value(self, raw: Floats) -> Floats:
        """The measure from what the formula gives."""
        return raw**2 if self.square else raw

    def signed(self, raw: Floats) -> Floats:
        """The measure with the formula's sign: a relation the wrong way round is worse than none."""
        return raw * np.abs(raw) if self.square else raw

    def difference(self, samples: Floats, value: float) -> tuple[float, float]:
        """The interval of the difference of two strategies, from its bootstrap samples `(samples,)` and its value."""
        return stretched(samples, value) if self.square else percentile(samples)

    def estimate(self, raw: float, samples: Floats | None, without: Floats) -> Estimate:
        """The value with its interval.

        Args:
            raw: what the formula gives.
            samples: the same for each bootstrap sample, None without a bootstrap.
            without: the same without each configuration, empty where the measure does not need it.
        """
        value = float(self.value(np.array(raw)))
        if samples is None or not np.isfinite(value):
            return Estimate(value)
        ends = self.interval(samples, raw, without)
        low, high = squared(*ends) if self.square else ends
        return Estimate(value, low, high, float(np.isnan(samples).mean()))


def relative_cost(pairs: Pairs, weights: Floats, basis: str) -> Floats:
    """The proxy's cost over the target's, each summed over the pairs; nan where one cost is not known."""
    sides = (pairs.frame[f"{basis}_{side}"].to_numpy(dtype=np.float64) for side in ("proxy", "target"))
    proxy, target = (weights @ side for side in sides)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(target > 0, proxy / target, np.nan)


def _percentile(samples: Floats, value: float, without: Floats) -> tuple[float, float]:
    return percentile(samples)


def _bias_corrected(samples: Floats, value: float, without: Floats) -> tuple[float, float]:
    return bias_corrected(samples, value)


def _of_a_loss(samples: Floats, value: float, without: Floats) -> tuple[float, float]:
    return stretched(samples, value, lowest=0.0)


def _of_values(formula: Callable[[Values, Floats], Floats]) -> Formula:
    return lambda pairs, weights, options: formula(pairs.values, weights)


def _loss(formula: Callable[[Values, Floats], Floats]) -> Formula:
    return lambda pairs, weights, options: options.objective.loss * formula(pairs.values, weights)


def _spearman(pairs: Pairs, weights: Floats, options: QualityOptions) -> Floats:
    return measures.spearman(pairs.values, weights, options.good)


def _spearman_all(pairs: Pairs, weights: Floats, options: QualityOptions) -> Floats:
    return measures.spearman(pairs.values, weights, measures.Good(fraction=1.0))


def _relative_cost(pairs: Pairs, weights: Floats, options: QualityOptions) -> Floats:
    return relative_cost(pairs, weights, options.cost_basis)


MEASURES: Registry[QualityMeasure] = Registry("measure")
for _name, _measure in {
    "r2": QualityMeasure(
        "share of the target's variance that the proxy explains: squared correlation of values normalised within each "
        "data set (Shleifer & Prokop 2019, section 3.2)",
        _of_values(measures.slope),
        stretched_correlation,
        square=True,
        jackknife=True,
    ),
    "spearman": QualityMeasure(
        "rank correlation over the good configurations, within each data set and seed, then averaged: the best "
        "`good_fraction` by the proxy, or those that reach `min_accuracy` on it",
        _spearman,
        _bias_corrected,
    ),
    "spearman_all": QualityMeasure(
        "the same over all configurations; higher, because they differ more", _spearman_all, _bias_corrected
    ),
    "kendall": QualityMeasure(
        "Kendall's tau-b over all comparisons of two configurations of one data set and seed",
        _of_values(measures.kendall),
        _bias_corrected,
    ),
    f"top{TOP}_overlap": QualityMeasure(
        f"share of the proxy's best {TOP} that are among the target's best {TOP}, ties included",
        _of_values(measures.top_overlap),
        _percentile,
    ),
    "regret": QualityMeasure(
        "loss on the target of choosing the configuration that is best on the proxy; empty if a tie decides",
        _loss(measures.regret),
        _of_a_loss,
    ),
    "expected_regret": QualityMeasure("regret, averaged over ties", _loss(measures.expected_regret), _of_a_loss),
    "best_recovered": QualityMeasure(
        "share of data sets and seeds on which the first choice is the target's best",
        _of_values(measures.recovered),
        _percentile,
    ),
    "relative_cost": QualityMeasure(
        "the proxy's cost over the target's: `train_seconds`, `examples_seen` or `train_flops` (`cost_basis`)",
        _relative_cost,
        _percentile,
    ),
}.items():
    MEASURES.add(_name, _measure)


@dataclass(frozen=True, eq=False)
class StrategyMeasures:
    """A strategy's measures.

    Attributes:
        pairs: what they are over.
        estimates: by the name in `MEASURES`.
        raw: by the same name what each formula gives.
        samples: by the same name `(samples,) float64`, what each formula gives for each bootstrap sample; none without
            a bootstrap.
    """

    pairs: Pairs
    estimates: dict[str, Estimate]
    raw: dict[str, float]
    samples: dict[str, Floats]

    def signed(self, name: str) -> tuple[float, Floats]:
        """A measure and its bootstrap samples `(samples,)`, with the formula's sign."""
        signed = MEASURES[name].signed
        return float(signed(np.array(self.raw[name]))), signed(self.samples.get(name, np.zeros(0)))


def measure(
    pairs: Pairs, draws: Draws | None, options: QualityOptions, names: tuple[str, ...] = tuple(MEASURES)
) -> StrategyMeasures:
    """Every measure of one strategy, or those of the given names."""
    ones = np.ones((1, len(pairs.frame)))
    weights = None
    if draws is not None and not pairs.frame.empty:
        weights = draws.of(pairs.frame)
    estimates, raw, samples = {}, {}, {}
    for name in names:
        formula = partial(MEASURES[name].formula, pairs)
        raw[name] = float(formula(ones, options)[0]) if len(pairs.frame) else np.nan
        without = np.zeros(0)
        if weights is not None and np.isfinite(raw[name]):
            samples[name] = formula(weights, options)
            if MEASURES[name].jackknife:
                without = formula(pairs.without_each[1], options)
        estimates[name] = MEASURES[name].estimate(raw[name], samples.get(name), without)
    return StrategyMeasures(pairs, estimates, raw, samples)


MEASURE_COLUMNS = ["strategy", "measure", "value", "low", "high", "n_pairs"]


def measure_rows(strategy: str, estimates: dict[str, Estimate], n_pairs: int) -> pd.DataFrame:
    """Estimates as rows of a table, columns `MEASURE_COLUMNS`."""
    rows = [(strategy, name, *each.cells, n_pairs) for name, each in estimates.items()]
    return pd.DataFrame(rows, columns=MEASURE_COLUMNS)
