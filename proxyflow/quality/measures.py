"""The formulas of proxy quality, on stacks of samples so that a bootstrap is one call.

Every function takes `x` (proxy) and `y` (target) of shape `(samples, pairs) float64` and `strata`, the column
positions of each data set, and returns `(samples,) float64` with nan where the measure is undefined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Strata = Sequence[NDArray[np.int64]]
MIN_PAIRS = 3


@dataclass(frozen=True)
class Good:
    """Which configurations Spearman looks at.

    Attributes:
        fraction: the best of each data set by proxy accuracy, rounded up; ties with the last are in.
        min_accuracy: instead, those of at least this proxy accuracy.
    """

    fraction: float = 0.5
    min_accuracy: float | None = None

    def mask(self, x: Floats, strata: Strata) -> NDArray[np.bool_]:
        """`(samples, pairs)`, true for the good configurations."""
        if self.min_accuracy is not None:
            return np.asarray(x >= self.min_accuracy)
        result = np.zeros(x.shape, dtype=bool)
        for columns in strata:
            part = x[:, columns]
            # Exact: .07 of 100 is 7, though as a product of floats it is a little more, which rounds up to 8.
            kept = math.ceil(Fraction(repr(self.fraction)) * len(columns))
            threshold = np.sort(part, axis=1)[:, len(columns) - kept]
            result[:, columns] = part >= threshold[:, None]
        return result


def normalise(x: Floats, strata: Strata) -> Floats:
    """z-scores within each data set (population standard deviation); nan where accuracies are constant."""
    z = np.full(x.shape, np.nan)
    for columns in strata:
        part = x[:, columns]
        spread = part.std(axis=1, keepdims=True)
        # Equal numbers can have a mean that is off in the last bit, and so a spread that is not quite zero.
        constant = part.min(axis=1, keepdims=True) == part.max(axis=1, keepdims=True)
        spread = np.where(constant, np.nan, spread)
        z[:, columns] = (part - part.mean(axis=1, keepdims=True)) / spread
    return z


def slope(x: Floats, y: Floats, strata: Strata) -> Floats:
    """beta of target = beta * proxy on the normalised pairs: the correlation, sign included."""
    if x.shape[1] < MIN_PAIRS:
        return np.full(len(x), np.nan)
    zx, zy = normalise(x, strata), normalise(y, strata)
    return np.asarray((zx * zy).sum(axis=1) / np.sqrt((zx**2).sum(axis=1) * (zy**2).sum(axis=1)))


def r2(x: Floats, y: Floats, strata: Strata) -> Floats:
    """Share of the target's variance that the proxy explains (Shleifer & Prokop 2019, section 3.2): slope squared."""
    return slope(x, y, strata) ** 2


def spearman(x: Floats, y: Floats, strata: Strata, good: Good) -> Floats:
    """Rank correlation over the good configurations, pooled on normalised accuracies (section 3.2)."""
    mask = good.mask(x, strata)
    ranks = []
    for values in (normalise(x, strata), normalise(y, strata)):
        # What is not good ranks below everything that is; ranks then differ from those among the good alone by
        # a constant, which a correlation does not see.
        undefined = np.isnan(values).any(axis=1, keepdims=True)
        ranked = rankdata(np.where(mask, np.nan_to_num(values), -np.inf), axis=1)
        ranks.append(np.where(undefined, np.nan, ranked))
    result = _masked_correlation(ranks[0], ranks[1], mask)
    return np.where(mask.sum(axis=1) >= MIN_PAIRS, result, np.nan)


def _masked_correlation(a: Floats, b: Floats, mask: NDArray[np.bool_]) -> Floats:
    n = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    a = np.where(mask, a - np.where(mask, a, 0).sum(axis=1, keepdims=True) / n, 0)
    b = np.where(mask, b - np.where(mask, b, 0).sum(axis=1, keepdims=True) / n, 0)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(scale > 0, (a * b).sum(axis=1) / scale, np.nan))


def resample(strata: Strata, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Bootstrap columns `(samples, pairs)`: pairs drawn with replacement within each data set."""
    columns = np.empty((samples, sum(len(part) for part in strata)), dtype=np.int64)
    for part in strata:
        columns[:, part] = rng.choice(part, size=(samples, len(part)))
    return columns


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap values, those that are undefined left out; nan where none is defined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
