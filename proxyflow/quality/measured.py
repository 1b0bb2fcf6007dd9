"""One strategy's measures with their bootstrap samples; every measure is one entry of a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from proxyflow.quality import measures
from proxyflow.quality.best import PERCENT
from proxyflow.quality.bootstrap import Draws, Estimate, bias_corrected, percentile, squared
from proxyflow.quality.measures import TOP, Accuracies, Floats
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs
from proxyflow.registry import Registry

Formula = Callable[[Pairs, Floats, QualityOptions], Floats]
Interval = Callable[[Floats, float], tuple[float, float]]


@dataclass(frozen=True)
class Measure:
    """A number that every strategy has.

    Attributes:
        title: what people call it.
        formula: pairs and weights `(samples, pairs)` to values `(samples,)`.
        interval: bootstrap values and the value to the ends of its interval.
        square: the value is the formula's square, whose sign is kept for the interval.
    """

    title: str
    formula: Formula
    interval: Interval
    square: bool = False

    def value(self, raw: Floats) -> Floats:
        """The measure from what the formula gives."""
        return raw**2 if self.square else raw

    def signed(self, raw: Floats) -> Floats:
        """The measure with the formula's sign: a relation the wrong way round is worse than none."""
        return raw * np.abs(raw) if self.square else raw

    def estimate(self, raw: float, samples: Floats | None) -> Estimate:
        """The value with its interval."""
        value = float(self.value(np.array(raw)))
        if samples is None or not np.isfinite(value):
            return Estimate(value)
        ends = self.interval(samples, raw)
        low, high = squared(*ends) if self.square else ends
        return Estimate(value, low, high, float(np.isnan(samples).mean()))


def relative_cost(pairs: Pairs, weights: Floats, basis: str) -> Floats:
    """The proxy's cost over the target's, each summed over the pairs; nan where one cost is not known."""
    sides = (pairs.frame[f"{basis}_{side}"].to_numpy(dtype=np.float64) for side in ("proxy", "target"))
    proxy, target = (weights @ side for side in sides)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(target > 0, proxy / target, np.nan)


def _percentile(samples: Floats, value: float) -> tuple[float, float]:
    return percentile(samples)


def _of_accuracies(formula: Callable[[Accuracies, Floats], Floats], scale: float = 1.0) -> Formula:
    return lambda pairs, weights, options: scale * formula(pairs.accuracies, weights)


def _spearman(pairs: Pairs, weights: Floats, options: QualityOptions) -> Floats:
    return measures.spearman(pairs.accuracies, weights, options.good)


def _relative_cost(pairs: Pairs, weights: Floats, options: QualityOptions) -> Floats:
    return relative_cost(pairs, weights, options.cost_basis)


MEASURES: Registry[Measure] = Registry("measure")
for _name, _measure in {
    "r2": Measure("r2", _of_accuracies(measures.slope), _percentile, square=True),
    "spearman": Measure("Spearman of the good", _spearman, bias_corrected),
    "kendall": Measure("Kendall's tau", _of_accuracies(measures.kendall), bias_corrected),
    f"top{TOP}_overlap": Measure(f"overlap of the best {TOP}", _of_accuracies(measures.top_overlap), _percentile),
    "regret": Measure("regret in points", _of_accuracies(measures.regret, PERCENT), _percentile),
    "expected_regret": Measure("regret, ties averaged", _of_accuracies(measures.expected_regret, PERCENT), _percentile),
    "best_recovered": Measure("best recovered", _of_accuracies(measures.recovered), _percentile),
    "relative_cost": Measure("relative cost", _relative_cost, _percentile),
}.items():
    MEASURES.add(_name, _measure)


@dataclass(frozen=True, eq=False)
class Measured:
    """A strategy's measures.

    Attributes:
        pairs: what they are over.
        estimates: by the name in `MEASURES`.
        samples: by the same name `(samples,) float64`, what each formula gives for each bootstrap sample; none without
            a bootstrap.
    """

    pairs: Pairs
    estimates: dict[str, Estimate]
    samples: dict[str, Floats]


def measure(
    pairs: Pairs, draws: Draws | None, options: QualityOptions, names: tuple[str, ...] = tuple(MEASURES)
) -> Measured:
    """Every measure of one strategy, or those of the given names."""
    ones = np.ones((1, len(pairs.frame)))
    weights = None if draws is None or pairs.frame.empty else draws.of(pairs.frame)
    estimates, samples = {}, {}
    for name in names:
        formula = partial(MEASURES[name].formula, pairs)
        raw = float(formula(ones, options)[0]) if len(pairs.frame) else np.nan
        if weights is not None and np.isfinite(raw):
            samples[name] = formula(weights, options)
        estimates[name] = MEASURES[name].estimate(raw, samples.get(name))
    return Measured(pairs, estimates, samples)


MEASURE_COLUMNS = ["strategy", "measure", "value", "low", "high", "n_pairs"]


def measure_rows(strategy: str, estimates: dict[str, Estimate], n_pairs: int) -> pd.DataFrame:
    """Estimates as rows of a table, columns `MEASURE_COLUMNS`."""
    rows = [(strategy, name, each.value, each.low, each.high, n_pairs) for name, each in estimates.items()]
    return pd.DataFrame(rows, columns=MEASURE_COLUMNS)
