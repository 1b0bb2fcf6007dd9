"""The formulas of proxy quality, on weighted pairs: a bootstrap, a jackknife and a part of a study are all weights.

Every formula takes `Accuracies` and `weights` of shape `(samples, pairs) float64`, how often each pair counts, and
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
class Accuracies:
    """The two accuracies of each pair.

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
    """Which configurations Spearman looks at.

    Attributes:
        fraction: the best of each data set by proxy accuracy, rounded up; ties with the last are in.
        min_accuracy: instead, those of at least this proxy accuracy.
    """

    fraction: float = 0.5
    min_accuracy: float | None = None

    def mask(self, proxy: Floats, strata: Strata, weights: Floats) -> NDArray[np.bool_]:
        """`(samples, pairs)`, true for the good configurations."""
        if self.min_accuracy is not None:
            return np.broadcast_to(proxy >= self.min_accuracy, weights.shape) & (weights > 0)
        result = np.zeros(weights.shape, dtype=bool)
        for rows in strata:
            x = proxy[rows]
            best_first = np.argsort(-x, kind="stable")
            reached = weights[:, rows[best_first]].cumsum(axis=1)
            # Exact: .07 of 100 is 7, though as a product of floats it is a little more, which rounds up to 8.
            share = Fraction(repr(self.fraction))
            totals, of_total = np.unique(reached[:, -1], return_inverse=True)
            kept = np.array([math.ceil(share * Fraction(total)) for total in totals.tolist()])[of_total]
            last = (reached >= kept[:, None]).argmax(axis=1)
            result[:, rows] = x >= x[best_first][last][:, None]
        return result & (weights > 0)


def normalise(values: Floats, strata: Strata, weights: Floats) -> Floats:
    """z-scores within each data set (population standard deviation), nan where accuracies are constant.

    Args:
        values: `(pairs,)`.

    Returns:
        `(samples, pairs)`, also of pairs that have no weight.
    """
    z = np.full(weights.shape, np.nan)
    for rows in strata:
        x = _shifted(values[rows])
        mean, spread = _moments(x, weights[:, rows])
        z[:, rows] = (x - mean[:, None]) / spread[:, None]
    return z


def _shifted(values: Floats) -> Floats:
    """Values less the first: those that are equal become exactly 0, and squares of what is close keep their digits."""
    return np.asarray(values - values[0])


def _moments(x: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Mean and population standard deviation, both `(samples,)`; the latter nan where what counts is all the same."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=1)
        mean = weights @ x / total
        variance = weights @ x**2 / total - mean**2
    # What is left of a variance of 0 after rounding is no spread.
    some = variance > ROUNDING * np.max(x**2, initial=0)
    return mean, np.sqrt(np.where(some, variance, np.nan))


def slope(pairs: Accuracies, weights: Floats) -> Floats:
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


def r2(pairs: Accuracies, weights: Floats) -> Floats:
    """Share of the target's variance that the proxy explains (Shleifer & Prokop 2019, section 3.2): slope squared."""
    return slope(pairs, weights) ** 2


def spearman(pairs: Accuracies, weights: Floats, good: Good) -> Floats:
    """Rank correlation over the good configurations, pooled on normalised accuracies (section 3.2)."""
    if not len(pairs):
        return np.full(len(weights), np.nan)
    mask = good.mask(pairs.proxy, pairs.strata, weights)
    counts = weights * mask
    ranks = []
    for side in (pairs.proxy, pairs.target):
        z = normalise(side, pairs.strata, weights)
        undefined = (np.isnan(z) & (weights > 0)).any(axis=1, keepdims=True)
        ranks.append(np.where(undefined, np.nan, mid_ranks(np.where(mask, z, -np.inf), counts)))
    return np.where(counts.sum(axis=1) >= MIN_PAIRS, _correlation(ranks[0], ranks[1], counts), np.nan)


def mid_ranks(values: Floats, counts: Floats) -> Floats:
    """Ranks of values that stand for `counts` equal ones each; those that tie share the mean of their ranks.

    Args:
        values, counts: `(samples, pairs)`.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered, count = np.take_along_axis(values, order, axis=1), np.take_along_axis(counts, order, axis=1)
    up_to = count.cumsum(axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    last = np.ones(ordered.shape, dtype=bool)
    last[:, :-1] = first[:, 1:]
    below = np.maximum.accumulate(np.where(first, up_to - count, 0), axis=1)
    within = np.minimum.accumulate(np.where(last, up_to, np.inf)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(ordered.shape)
    np.put_along_axis(ranks, order, (below + within + 1) / 2, axis=1)
    return ranks


def _correlation(a: Floats, b: Floats, weights: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        n = weights.sum(axis=1, keepdims=True)
        a = a - np.einsum("sp,sp->s", weights, a)[:, None] / n
        b = b - np.einsum("sp,sp->s", weights, b)[:, None] / n
        scale = np.sqrt(np.einsum("sp,sp->s", weights, a**2) * np.einsum("sp,sp->s", weights, b**2))
        value = np.einsum("sp,sp,sp->s", weights, a, b) / scale
    return np.where(scale > 0, np.clip(value, -1, 1), np.nan)


def kendall(pairs: Accuracies, weights: Floats) -> Floats:
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
    """Contests that follow each other and weigh their configurations alike, as the seeds of a data set do."""
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


def top_overlap(pairs: Accuracies, weights: Floats, top: int = TOP) -> Floats:
    """Share of the target's best `top` configurations that are among the proxy's best, a mean over data sets and seeds.

    Configurations that tie for the last places share them, so that a proxy that ties throughout has what chance gives.
    Undefined where no data set and seed has twice as many configurations: then chance alone has half of them.
    """
    shares = []
    for rows in pairs.contests:
        if len(rows) < 2 * top:
            continue
        w = weights[:, rows]
        (in_x, mixed_x), (in_y, mixed_y) = (_places(side[rows], w, top) for side in (pairs.proxy, pairs.target))
        # Who of several that tie is in is a matter of chance on each side; copies of one configuration are one.
        both = np.where(mixed_x | mixed_y, in_x * in_y, np.minimum(in_x, in_y))
        shares.append(np.where(w.sum(axis=1) >= 2 * top, (w * both).sum(axis=1) / top, np.nan))
    return np.mean(shares, axis=0) if shares else np.full(len(weights), np.nan)


def _places(values: Floats, weights: Floats, top: int) -> tuple[Floats, NDArray[np.bool_]]:
    """The share of each configuration that is among the first `top`, and whether it ties with another, both
    `(samples, configurations)`."""
    distinct, group = np.unique(-values, return_inverse=True)
    member = (group[:, None] == np.arange(len(distinct))).astype(np.float64)
    count = weights @ member
    before = count.cumsum(axis=1) - count
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(count > 0, np.clip((top - before) / count, 0, 1), 0)
    tied = (weights > 0).astype(np.float64) @ member > 1
    return share[:, group], tied[:, group]


def regret(pairs: Accuracies, weights: Floats) -> Floats:
    """Accuracy lost by taking the proxy's first choice, a mean over data sets of the mean over seeds.

    Undefined where configurations that tie for the first choice differ on the target.
    """
    return _by_dataset(pairs, [best - reached for best, reached in _choices(pairs, weights)], weights)


def expected_regret(pairs: Accuracies, weights: Floats) -> Floats:
    """As `regret`, where configurations tie for the first choice the mean of what each of them loses."""
    values = []
    for rows in pairs.contests:
        first, best = _first_choice(pairs, rows, weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            w = first * weights[:, rows]
            values.append(best - w @ pairs.target[rows] / w.sum(axis=1))
    return _by_dataset(pairs, values, weights)


def recovered(pairs: Accuracies, weights: Floats) -> Floats:
    """Share of data sets and seeds on which the proxy's first choice is the target's best, a mean as `regret`."""
    values = [np.where(np.isnan(reached), np.nan, best == reached) for best, reached in _choices(pairs, weights)]
    return _by_dataset(pairs, values, weights)


def _choices(pairs: Accuracies, weights: Floats) -> list[tuple[Floats, Floats]]:
    """Per contest the best target accuracy, and that of the proxy's first choice, nan where a tie decides."""
    found = []
    for rows in pairs.contests:
        first, best = _first_choice(pairs, rows, weights)
        y = pairs.target[rows]
        reached, other = np.where(first, y, -np.inf).max(axis=1), np.where(first, y, np.inf).min(axis=1)
        found.append((best, np.where((reached == other) & first.any(axis=1), reached, np.nan)))
    return found


def _first_choice(pairs: Accuracies, rows: NDArray[np.int64], weights: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which configurations of a contest the proxy ranks first, `(samples, configurations)`, and the target's best."""
    present = weights[:, rows] > 0
    x = np.where(present, pairs.proxy[rows], -np.inf)
    first = present & (x == x.max(axis=1, keepdims=True))
    return first, np.where(present, pairs.target[rows], -np.inf).max(axis=1)


def _by_dataset(pairs: Accuracies, values: Sequence[Floats], weights: Floats) -> Floats:
    if not values:
        return np.full(len(weights), np.nan)
    dataset = np.empty(len(pairs), dtype=np.int64)
    for number, rows in enumerate(pairs.strata):
        dataset[rows] = number
    of_contest = np.array([dataset[rows[0]] for rows in pairs.contests])
    stacked = np.stack(values)
    by_dataset = [stacked[of_contest == number].mean(axis=0) for number in range(len(pairs.strata))]
    return np.asarray(np.mean(by_dataset, axis=0))
