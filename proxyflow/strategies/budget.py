"""Exact budgets: how many examples a fraction is, and how they are divided among the classes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def exact(number: float) -> Fraction:
    """The number as it is written: 0.1 is exactly a tenth, unlike the float."""
    return Fraction(repr(number))


def count(fraction: float, n: int) -> int:
    """`fraction` of `n` rounded half up, in exact arithmetic on the number as it is written."""
    return int(exact(fraction) * n + Fraction(1, 2))


def apportion(total: int, sizes: Sequence[int], at_least_one: bool = True) -> list[int]:
    """Divides `total` in proportion to `sizes` by the method of largest remainders (Hamilton's).

    Each share is the exact quota rounded down or up, so the shares add up to `total`. Then, where `total`
    allows at least one for every non-empty part, an empty share takes one from the share furthest above its quota.

    Args:
        total: how many to divide, 0 to `sum(sizes)`.
        sizes: how many each part has; no share exceeds its part.
        at_least_one: lift empty shares as described.

    Returns:
        One share per part. Equal remainders go to the earlier part.
    """
    everything = sum(sizes)
    if not 0 <= total <= everything:
        raise ValueError(f"cannot choose {total} of {everything}")
    if not everything:
        return [0] * len(sizes)
    parts = range(len(sizes))
    shares = [total * size // everything for size in sizes]
    by_remainder = sorted(parts, key=lambda part: (-(total * sizes[part] % everything), part))
    for part in by_remainder[: total - sum(shares)]:
        shares[part] += 1
    if at_least_one and total >= sum(1 for size in sizes if size):
        for part in parts:
            if sizes[part] and not shares[part]:
                above = {p: shares[p] * everything - total * sizes[p] for p in parts if shares[p] > 1}
                shares[max(above, key=lambda p: above[p])] -= 1
                shares[part] += 1
    return shares
