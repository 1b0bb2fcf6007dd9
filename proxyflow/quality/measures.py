"""The formulas of proxy quality, on weighted pairs: a bootstrap, a jackknife and a subset of a study are all weights.

Every formula takes `Values` and `weights` of shape `(samples, pairs) float64`, how often each pair counts, and
returns `(samples,) float64` with nan where the measure is undefined. Ones give the value itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Strata = Sequence[NDArray[np.int64]]
MIN_PAIRS = 3
# Configurations that a proxy's shortlist has.
TOP = 5
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Values:
    """The two values of each pair, more being better.

    Attributes:
        proxy, target: `(pairs,) float64`.
        strata: positions of the pairs of each data set.
        contests: positions of the pairs of each data set and seed, whose configurations compete with each other.
    """

    proxy: Floats
    target: Floats
    strata: Strata
    contests: Strata

    def __len__(self) -> int:
        return len(self.proxy)


@dataclass(frozen=True)
class Good:
    """Which configurations Spearman is computed over.

    Attributes:
        fraction: the best of each data set and seed by the proxy's values, rounded up; ties with the last are in.
        threshold: instead, those whose value on the proxy is at least this.
    """

    fraction: float = 0.5
    threshold: float | None = None

    def mask(self, proxy: Floats, weights: Floats) -> NDArray[np.bool_]:
        """Which configurations of one data set and seed are good, `(samples, configurations)`.

        Args:
            proxy: `(configurations,)`, the proxy's values.
            weights: `(samples, configurations)`.
        """
        if self.threshold is not None:
            return (proxy >= self.threshold) & (weights > 0)
        best_first = np.argsort(-proxy, kind="stable")
        reached = weights[:, best_first].cumsum(axis=1)
        # Exact: .07 of 100 is 7, though as a product of floats it is a little more, which rounds up to 8.
        share = Fraction(repr(float(self.fraction)))
        totals, of_total = np.unique(reached[:, -1], return_inverse=True)
        kept = np.array([math.ceil(share * Fraction(total)) for total in totals.tolist()])[of_total]
        last = (reached >= kept[:, None]).argmax(axis=1)
        return np.asarray((proxy >= proxy[best_first][last][:, None]) & (weights > 0))


def _shifted(values: Floats) -> Floats:
    """Values minus the first: equal values become exactly 0, and squares of similar values keep their digits."""
    return np.asarray(values - values[0])


def _moments(x: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Mean and population standard deviation, both `(samples,)`; the latter nan where all values are equal."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=1)
        mean = weights @ x / total
        variance = weights @ x**2 / total - mean**2
    # A variance this small is the rounding error of 0.
    some = variance > ROUNDING * np.max(x**2, initial=0)
    return mean, np.sqrt(np.where(some, variance, np.nan))


def slope(pairs: Values, weights: Floats) -> Floats:
    """beta of target = beta * proxy on the normalised pairs: the correlation, sign included."""
    product, total = np.zeros(len(weights)), weights.sum(axis=1)
    for rows in pairs.strata:
        w, x, y = weights[:, rows], _shifted(pairs.proxy[rows]), _shifted(pairs.target[rows])
        (mean_x, spread_x), (mean_y, spread_y) = _moments(x, w), _moments(y, w)
        # The sum over a data set of the product of two z-scores.
        product += (w @ (x * y) - w.sum(axis=1) * mean_x * mean_y) / (spread_x * spread_y)
    with np.errstate(invalid="ignore", divide="ignore"):
        beta = product / total
    return np.where(total >= MIN_PAIRS, np.clip(beta, -1, 1), np.nan)


def r2(pairs: Values, weights: Floats) -> Floats:
    """Share of the target's variance that the proxy explains (Shleifer & Prokop 2019, section 3.2): slope squared."""
    return slope(pairs, weights) ** 2


def spearman(pairs: Values, weights: Floats, good: Good) -> Floats:
    """Rank correlation over the good configurations (section 3.2), within each data set and seed, then averaged.

    Pooled ranks would rank data sets against each other. Data sets and seeds with fewer than three good configurations
    are left out of the average; where the values of one are constant, the average is undefined.
    """
    total, defined = np.zeros(len(weights)), np.zeros(len(weights))
    for rows in pairs.contests:
        x, y, w = pairs.proxy[rows], pairs.target[rows], weights[:, rows]
        counts = w * good.mask(x, w)
        enough = counts.sum(axis=1) >= MIN_PAIRS
        value = _correlation(mid_ranks(x, counts), mid_ranks(y, counts), counts)
        total += np.where(enough, value, 0)
        defined += enough
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined > 0, total / defined, np.nan)


def mid_ranks(values: Floats, counts: Floats) -> Floats:
    """Ranks of values that each occur `counts` times; ties share the mean of their ranks.

    Args:
        values: `(pairs,)`.
        counts: `(samples, pairs)`.

    Returns:
        `(samples, pairs)`; the rank of a value that occurs 0 times has no meaning.
    """
    group, within = _per_value(values, counts)
    below = within.cumsum(axis=1) - within
    return np.asarray((below + (within + 1) / 2)[:, group])


def _per_value(values: Floats, counts: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The number of each value among the distinct ones in rising order, and how often each of these counts.

    Returns:
        `(pairs,)` and `(samples, distinct)`.
    """
    _, first, group = np.unique(np.sort(values), return_index=True, return_inverse=True)
    order = np.argsort(values, kind="stable")
    of_value = np.empty(len(values), dtype=np.int64)
    of_value[order] = group
    return of_value, np.add.reduceat(counts[:, order], first, axis=1)


def _correlation(a: Floats, b: Floats, weights: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        n = weights.sum(axis=1, keepdims=True)
        a = a - np.einsum("sp,sp->s", weights, a)[:, None] / n
        b = b - np.einsum("sp,sp->s", weights, b)[:, None] / n
        scale = np.sqrt(np.einsum("sp,sp->s", weights, a**2) * np.einsum("sp,sp->s", weights, b**2))
        value = np.einsum("sp,sp,sp->s", weights, a, b) / scale
    return np.where(scale > 0, np.clip(value, -1, 1), np.nan)


def kendall(pairs: Values, weights: Floats) -> Floats:
    """Kendall's tau-b over all comparisons of two configurations of one data set and seed.

    Half of tau + 1 is the chance that the proxy orders two of them as the target does, where nothing ties.
    """
    agreement, differ_x, differ_y = (np.zeros(len(weights)) for _ in range(3))
    for contests in _of_equal_weight(pairs.contests, weights):
        w = weights[:, contests[0]]
        x, y = (
            np.stack([np.sign(side[rows][:, None] - side[rows]) for rows in contests])
            for side in (pairs.proxy, pairs.target)
        )
        agreement += _quadratic(w, (x * y).sum(axis=0))
        differ_x += _quadratic(w, np.abs(x).sum(axis=0))
        differ_y += _quadratic(w, np.abs(y).sum(axis=0))
    scale = np.sqrt(differ_x * differ_y)
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = agreement / scale
    enough = weights.sum(axis=1) >= MIN_PAIRS
    return np.where(enough & (scale > 0), np.clip(tau, -1, 1), np.nan)


def _of_equal_weight(contests: Strata, weights: Floats) -> list[list[NDArray[np.int64]]]:
    """Consecutive contests with equal weights, as the seeds of a data set have."""
    groups: list[list[NDArray[np.int64]]] = []
    for rows in contests:
        last = groups[-1][0] if groups else rows[:0]
        if len(last) == len(rows) and np.array_equal(weights[:, last], weights[:, rows]):
            groups[-1].append(rows)
        else:
            groups.append([rows])
    return groups


def _quadratic(weights: Floats, matrix: Floats) -> Floats:
    return np.asarray(np.einsum("sp,sp->s", weights @ matrix, weights))


def top_overlap(pairs: Values, weights: Floats, top: int = TOP) -> Floats:
    """Share of the proxy's best `top` configurations that are among the target's, a mean over data sets and seeds.

    Configurations that tie for the proxy's last places share them, so that a proxy on which all configurations tie
    scores as chance does. All that tie for the target's last place are among its best, so the target finds its own.
    Undefined where no data set and seed has twice as many configurations (chance alone would find half of them), and
    where all configurations are equal on the target.
    """
    shares = []
    for rows in pairs.contests:
        if len(rows) < 2 * top:
            continue
        w = weights[:, rows]
        best = _share_of_places(pairs.target[rows], w, top) > 0
        found = (w * _share_of_places(pairs.proxy[rows], w, top) * best).sum(axis=1) / top
        defined = (w.sum(axis=1) >= 2 * top) & ((w > 0) & ~best).any(axis=1)
        shares.append(np.where(defined, found, np.nan))
    return np.mean(shares, axis=0) if shares else np.full(len(weights), np.nan)


def _share_of_places(values: Floats, weights: Floats, top: int) -> Floats:
    """The share of each configuration that is among the first `top`, those that tie for the last places sharing them,
    `(samples, configurations)`."""
    group, count = _per_value(-values, weights)
    before = count.cumsum(axis=1) - count
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(count > 0, np.clip((top - before) / count, 0, 1), 0)
    return np.asarray(share[:, group])


def regret(pairs: Values, weights: Floats) -> Floats:
    """What is lost by taking the proxy's first choice, a mean over data sets of the mean over seeds.

    Undefined where configurations that tie for the first choice differ on the target.
    """
    return _by_dataset(pairs, [best - reached for best, reached in _choices(pairs, weights)], weights)


def expected_regret(pairs: Values, weights: Floats) -> Floats:
    """As `regret`, where configurations tie for the first choice the mean of what each of them loses."""
    values = []
    for rows in pairs.contests:
        first, best = _first_choice(pairs, rows, weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            w = first * weights[:, rows]
            values.append(best - w @ pairs.target[rows] / w.sum(axis=1))
    return _by_dataset(pairs, values, weights)


def recovered(pairs: Values, weights: Floats) -> Floats:
    """Share of data sets and seeds on which the proxy's first choice is the target's best, a mean as `regret`."""
    values = [np.where(np.isnan(reached), np.nan, best == reached) for best, reached in _choices(pairs, weights)]
    return _by_dataset(pairs, values, weights)


def _choices(pairs: Values, weights: Floats) -> list[tuple[Floats, Floats]]:
    """Per contest the target's best value, and that of the proxy's first choice, nan where a tie decides."""
    found = []
    for rows in pairs.contests:
        first, best = _first_choice(pairs, rows, weights)
        y = pairs.target[rows]
        reached, other = np.where(first, y, -np.inf).max(axis=1), np.where(first, y, np.inf).min(axis=1)
        found.append((best, np.where((reached == other) & first.any(axis=1), reached, np.nan)))
    return found


def _first_choice(pairs: Values, rows: NDArray[np.int64], weights: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which configurations of a contest the proxy ranks first, `(samples, configurations)`, and the target's best."""
    present = weights[:, rows] > 0
    x = np.where(present, pairs.proxy[rows], -np.inf)
    first = present & (x == x.max(axis=1, keepdims=True))
    return first, np.where(present, pairs.target[rows], -np.inf).max(axis=1)


def _by_dataset(pairs: Values, values: Sequence[Floats], weights: Floats) -> Floats:
    if not values:
        return np.full(len(weights), np.nan)
    dataset = np.empty(len(pairs), dtype=np.int64)
    for number, rows in enumerate(pairs.strata):
        dataset[rows] = number
    of_contest = np.array([dataset[rows[0]] for rows in pairs.contests])
    stacked = np.stack(values)
    by_dataset = [stacked[of_contest == number].mean(axis=0) for number in range(len(pairs.strata))]
    return np.asarray(np.mean(by_dataset, axis=0))
