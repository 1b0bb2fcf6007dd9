"""Intervals: configurations drawn anew within each data set, all seeds of one together, alike for every strategy.

The runs of one configuration under several seeds are no independent evidence on which configurations a proxy ranks
rightly, so they are drawn together; with one seed this is the bootstrap over pairs. As all strategies share the
draws, the difference of two strategies has an interval of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from proxyflow.quality.measures import Floats
from proxyflow.quality.pairs import positions
from proxyflow.quality.runs import TARGET
from proxyflow.seeds import generator

LEVEL = 0.95
# Ranks have few different correlations, so many samples equal the value, but for the last digits of the sums behind it.
ROUNDING = 1e-12
ALMOST_1 = 0.999999  # Fisher's z of 1 is infinite


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, all nan where undefined.

    Attributes:
        undefined: share of the bootstrap samples that leave it undefined.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    undefined: float = 0.0


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each configuration of each data set is drawn in each bootstrap sample.

    Attributes:
        counts: `(samples, clusters) float64`, columns by the number of the cluster, see `numbered`.
    """

    counts: Floats

    def of(self, frame: pd.DataFrame) -> Floats:
        """`(samples, rows) float64`: the weights of rows by their column `cluster`."""
        return self.counts[:, frame["cluster"].to_numpy()]

    def first(self, samples: int) -> Draws:
        """The first so many samples, for what needs no more."""
        return Draws(self.counts[:samples])


def numbered(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with a column `cluster`, a number of their data set and configuration."""
    return runs.assign(cluster=runs.groupby(["dataset", "config"], sort=True).ngroup().astype(np.int64))


def draw(runs: pd.DataFrame, samples: int) -> Draws:
    """Draws the configurations of the target's runs, within each data set with replacement.

    Args:
        runs: all that count, with `dataset`, `strategy` and `cluster`.
    """
    target = runs[runs["strategy"] == TARGET]
    known = target[["dataset", "cluster"]].drop_duplicates().sort_values("cluster", ignore_index=True)
    counts = np.zeros((samples, int(runs["cluster"].max()) + 1))
    for rows in positions(known, ["dataset"]):
        # A stream of its own, so that a data set's samples do not depend on which others there are.
        rng = generator(0, "bootstrap", str(known["dataset"].iloc[rows[0]]))
        drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=samples)
        counts[:, known["cluster"].to_numpy()[rows]] = drawn
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


def centred(samples: Floats, value: float) -> tuple[float, float]:
    """Normal interval of a correlation in Fisher's z, with the samples' standard deviation.

    For what samples lie beside on the whole, as a correlation of two noisy things does once they are made noisier: a
    percentile interval would be beside the value, too.

    Args:
        samples: `(samples,)` bootstrap values in -1..1.
        value: the estimate itself.
    """
    defined = samples[np.isfinite(samples)]
    if len(defined) < 2:
        return math.nan, math.nan
    z, spread = math.atanh(max(-ALMOST_1, min(value, ALMOST_1))), np.arctanh(np.clip(defined, -ALMOST_1, ALMOST_1))
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
