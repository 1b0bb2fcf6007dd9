"""Exact budgets: how many examples a fraction is, and how they are divided among the classes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def exact(number: float) -> Fraction:
    """The number as it is written: 0.1 is exactly a tenth, unlike the float."""
    return Fraction(repr(number))


def count(fraction: float, n: int) -> int:
    """`fraction` of `n` rounded half up, in exact arithmetic on the number as it is written."""
    return int(exact(fraction) * n + Fraction(1, 2))


def apportion(total: int, sizes: Sequence[int], at_least_one: bool = True) -> list[int]:
    """Divides `total` in proportion to `sizes` by the method of Webster (Sainte-Lague), seat by seat.

    Seat i (from 0) of a part has the priority (i + 1/2) / size; the `total` seats with the smallest values are given. A
    larger total therefore adds seats and takes none away, which makes subsets of different sizes nested; the method of
    largest remainders does not have this property. Exact, in integers; k parts take O(k log k), whatever the total is.

    With k parts that are not empty, a share differs from its exact quota by at most 1/2 + (k - 2) / 2 * size /
    sum(sizes): by less than one for parts of less than 1 / (k - 2) of everything, so for all of up to three parts, and
    for equal ones. With `at_least_one`, this holds among the parts that are not lifted from nothing, for what these
    leave.

    Args:
        total: how many to divide, 0 to `sum(sizes)`.
        sizes: how many each part has; no share exceeds its part.
        at_least_one: the first seats of all parts that are not empty come before all other seats, the largest part's
            first; where `total` is too small for all, the largest parts have one each.

    Returns:
        One share per part. Seats of equal priority go to the earlier part first.

    Source:
        Balinski & Young 2001, Fair Representation, appendix A (divisor methods and their monotonicity).
    """
    everything = sum(sizes)
    if not 0 <= total <= everything:
        raise ValueError(f"cannot choose {total} of {everything}")
    parts = [part for part, size in enumerate(sizes) if size]
    shares = [0] * len(sizes)
    if at_least_one and total <= len(parts):
        for part in sorted(parts, key=lambda part: (-sizes[part], part))[:total]:
            shares[part] = 1
        return shares
    fewest = int(at_least_one)
    for part in parts:
        # All seats with a priority of at most total / everything; what is missing or too many is about one per part.
        shares[part] = max(fewest, (2 * sizes[part] * total + everything) // (2 * everything))
    given = sum(shares)
    if given < total:
        following = [(Fraction(2 * shares[part] + 1, sizes[part]), part) for part in parts]
        heapq.heapify(following)
        for _ in range(total - given):
            _, part = following[0]
            shares[part] += 1
            heapq.heapreplace(following, (Fraction(2 * shares[part] + 1, sizes[part]), part))
    elif given > total:
        last = [(-Fraction(2 * shares[part] - 1, sizes[part]), -part) for part in parts if shares[part] > fewest]
        heapq.heapify(last)
        for _ in range(given - total):
            _, minus_part = heapq.heappop(last)
            shares[-minus_part] -= 1
            if shares[-minus_part] > fewest:
                priority = Fraction(2 * shares[-minus_part] - 1, sizes[-minus_part])
                heapq.heappush(last, (-priority, minus_part))
    return shares


def members_by_class(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The positions of each class that occurs, ascending, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    _, begin = np.unique(labels[order], return_index=True)
    return np.split(order, begin[1:]) if len(order) else []
