"""Intervals: configurations are drawn once, and each draw is used on every data set, seed and strategy that has them.

A configuration on two data sets or under two seeds is not independent evidence: a proxy's errors on one often recur on
the other. All strategies share the draws, so the difference of two has an interval of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student_t

from proxyflow.core.seeds import generator
from proxyflow.quality.measures import Floats
from proxyflow.quality.runs import TARGET

LEVEL = 0.95
# Correlations of ranks take few values, so many samples equal the estimate up to rounding errors.
ROUNDING = 1e-12
SIGNIFICANT = 12  # digits of an interval's end
ALMOST_1 = 0.999999  # Fisher's z of 1 is infinite
# How much further from the value than percentiles the ends are where one configuration can decide the value. In studies
# simulated from a real one, percentiles cover the truth too rarely: for a first choice's regret in .91 to .93 of cases
# instead of .95, for the difference of two r2 in .81 to .89 (benchmarks/coverage.py).
STRETCH = 1.5


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, all nan where undefined.

    Attributes:
        undefined: share of the bootstrap samples that leave it undefined.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    undefined: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def cells(self) -> tuple[float, float, float]:
        """Value, low and high, as tables have them."""
        return self.value, self.low, self.high


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each configuration is drawn in each bootstrap sample.

    Attributes:
        counts: `(samples, clusters) float64`, columns by the number of the configuration, see `number_configurations`.
    """

    counts: Floats

    def of(self, frame: pd.DataFrame) -> Floats:
        """`(samples, rows) float64`: the weights of rows by their column `cluster`."""
        return self.counts[:, frame["cluster"].to_numpy()]

    def first(self, samples: int) -> Draws:
        """The first so many samples, for what needs no more."""
        return Draws(self.counts[:samples])


def number_configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with a column `cluster`, the number of their configuration."""
    return runs.assign(cluster=runs.groupby("config", sort=True).ngroup().astype(np.int64))


def draw(runs: pd.DataFrame, samples: int) -> Draws:
    """Draws the configurations of the target's runs with replacement, the same draws for every data set.

    Where data sets have different configurations, a draw holds more of one data set's than another draw does.

    Args:
        runs: all that count, with `strategy` and `cluster`.
    """
    known = np.sort(runs.loc[runs["strategy"] == TARGET, "cluster"].unique())
    counts = np.zeros((samples, int(runs["cluster"].max()) + 1))
    rng = generator(0, "bootstrap")
    counts[:, known] = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), size=samples)
    return Draws(counts)


def percentile(samples: Floats) -> tuple[float, float]:
    """Percentile interval of bootstrap values, those that are undefined left out; nan where none is defined."""
    return _quantiles(samples, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))


def bias_corrected(samples: Floats, value: float) -> tuple[float, float]:
    """Bias-corrected percentile interval (Efron 1981): percentiles moved by how far the samples' median is off.

    Samples of a rank correlation lie below the value, as drawing the same configuration twice makes ties.

    Args:
        samples: `(samples,)` bootstrap values.
        value: the estimate itself.
    """
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return math.nan, math.nan
    equal = np.abs(samples - value) <= ROUNDING
    below = (np.sum((samples < value) & ~equal) + np.sum(equal) / 2) / len(samples)
    bias = norm.ppf(np.clip(below, 1 / len(samples), 1 - 1 / len(samples)))
    low, high = norm.cdf(2 * bias + norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return _quantiles(samples, (float(low), float(high)))


def stretched(samples: Floats, value: float, lowest: float = -math.inf) -> tuple[float, float]:
    """Percentile interval whose ends are `STRETCH` times as far from the value.

    For values that depend on a few of the configurations. If a study happens to lack a configuration that fails, or
    that a proxy misjudges, its bootstrap cannot show what such a configuration would change, so percentiles are too
    narrow.

    Args:
        samples: `(samples,)` bootstrap values.
        value: the estimate itself, which the interval always holds.
        lowest: the least value that there is.
    """
    low, high = percentile(samples)
    if not math.isfinite(low):
        return math.nan, math.nan
    low, high = value - STRETCH * max(0.0, value - low), value + STRETCH * max(0.0, high - value)
    return rounded(low, high, lowest)


def rounded(low: float, high: float, lowest: float = -math.inf) -> tuple[float, float]:
    """The ends of an interval without rounding errors, which would move one off 0 or the tolerance.

    Args:
        lowest: the least value that there is.
    """
    size = max(abs(low), abs(high))
    digits = SIGNIFICANT - math.ceil(math.log10(size)) if 0 < size < math.inf else 0
    return max(round(low, digits), lowest), round(high, digits)


def effective_number(without: Floats) -> float:
    """How many configurations a value depends on, 1 where a single one decides it.

    The square of the sum of squared influences over the sum of their squares, as the effective number of clusters is
    counted (Carter, Schnepel and Steigerwald 2017).

    Args:
        without: `(configurations,)`, the value without each of them.
    """
    influence = (without - np.nanmean(without)) ** 2 if np.isfinite(without).any() else np.zeros(0)
    total = float(np.nansum(influence**2))
    return float(np.nansum(influence)) ** 2 / total if total > 0 else float(max(1, len(without)))


def stretched_correlation(samples: Floats, value: float, without: Floats | None = None) -> tuple[float, float]:
    """Percentile interval of a correlation, the wider, the fewer the configurations that it depends on.

    Its ends are moved away from the value, in Fisher's z, by Student's t over the normal quantile. The degrees of
    freedom are the effective number of configurations, which is 2 or 3 in the committed study of 36, plus one: of
    several numbers tried the one that holds the truth often enough both in studies like it and in normal data, where
    the interval hardly widens (benchmarks/coverage.py, benchmarks/intervals.py).

    Args:
        samples: `(samples,)` bootstrap values.
        value: the estimate itself, which the interval always holds.
        without: `(configurations,)`, the value without each of them; None where it is not known, which is stretched by
            `STRETCH`.
    """
    low, high = percentile(samples)
    if not math.isfinite(low):
        return math.nan, math.nan
    z, factor = _fisher_z(value), STRETCH
    if without is not None:
        freedom = effective_number(np.arctanh(np.clip(without, -ALMOST_1, ALMOST_1))) + 1
        factor = float(student_t.ppf((1 + LEVEL) / 2, freedom) / norm.ppf((1 + LEVEL) / 2))

    def moved(end: float) -> float:
        distance = _fisher_z(end) - z
        # There and back again, 1 would be a little less.
        return math.tanh(z + factor * distance) if distance else end

    return min(value, moved(low)), max(value, moved(high))


def _fisher_z(correlation: float) -> float:
    return math.atanh(max(-ALMOST_1, min(correlation, ALMOST_1)))


def centred(samples: Floats, value: float) -> tuple[float, float]:
    """Normal interval of a correlation in Fisher's z, with the samples' standard deviation.

    For values whose bootstrap samples are biased, as those of a correlation of two noisy quantities are: a percentile
    interval would be biased, too.

    Args:
        samples: `(samples,)` bootstrap values in -1..1.
        value: the estimate itself.
    """
    defined = samples[np.isfinite(samples)]
    if len(defined) < 2:
        return math.nan, math.nan
    z, spread = _fisher_z(value), np.arctanh(np.clip(defined, -ALMOST_1, ALMOST_1))
    half = float(norm.ppf((1 + LEVEL) / 2) * spread.std(ddof=1))
    return math.tanh(z - half), math.tanh(z + half)


def squared(low: float, high: float) -> tuple[float, float]:
    """The interval of a square from that of its root: from 0 on where the root's holds 0."""
    ends = low**2, high**2
    return (0.0 if low < 0 < high else min(ends)), max(ends)


def _quantiles(samples: Floats, shares: tuple[float, float]) -> tuple[float, float]:
    defined = samples[np.isfinite(samples)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, shares)
    return float(low), float(high)
