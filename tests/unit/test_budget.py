"""Two proxies of one stated size must have one true size, or their costs cannot be compared."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyflow.strategies.budget import apportion, count


@pytest.mark.parametrize(
    ("fraction", "n", "expected"),
    [
        # 0.145 * 1000 is 144.99999999999997 in floating point.
        (0.145, 1000, 145),
        (0.1, 1297, 130),
        (0.5, 1297, 649),
        (0.5, 1, 1),
        (0.25, 2, 1),
        (0.25, 6, 2),
        (0.29, 50, 15),
        (0.57, 50, 29),
        (0.001, 499, 0),
        (0.001, 500, 1),
        (0.0, 10, 0),
        (1.0, 10, 10),
        (1e-05, 50_000, 1),
        (0.1, 0, 0),
    ],
)
def test_a_fraction_is_rounded_half_up_as_it_is_written(fraction: float, n: int, expected: int) -> None:
    assert count(fraction, n) == expected


@given(st.decimals("0", "1", places=4), st.integers(0, 100_000))
def test_a_decimal_fraction_gives_what_it_gives_on_paper(fraction: Decimal, n: int) -> None:
    assert count(float(fraction), n) == int((fraction * n).quantize(Decimal(1), ROUND_HALF_UP))


@st.composite
def shared_out(draw: st.DrawFn) -> tuple[int, list[int]]:
    sizes = draw(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2000)), min_size=1, max_size=12))
    return draw(st.integers(0, sum(sizes))), sizes


@given(shared_out())
@settings(max_examples=300)
def test_shares_add_up_and_fit(case: tuple[int, list[int]]) -> None:
    total, sizes = case
    shares = apportion(total, sizes)
    assert sum(shares) == total
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))


@given(shared_out())
@settings(max_examples=300)
def test_shares_are_proportional_to_within_one_but_for_parts_lifted_from_nothing(case: tuple[int, list[int]]) -> None:
    total, sizes = case
    shares = apportion(total, sizes)
    if not sum(sizes):
        return
    quotas = [Fraction(total * size, sum(sizes)) for size in sizes]
    # A part whose quota is under 1 may have been given its one from a larger part.
    lifted = sum(share == 1 and quota < 1 for share, quota in zip(shares, quotas, strict=True))
    for share, quota in zip(shares, quotas, strict=True):
        assert share < quota + 1
        assert share > quota - 1 - lifted
    if not lifted:
        assert all(abs(share - quota) < 1 for share, quota in zip(shares, quotas, strict=True))


@given(shared_out())
@settings(max_examples=300)
def test_nobody_goes_empty_where_there_is_one_for_everybody(case: tuple[int, list[int]]) -> None:
    total, sizes = case
    shares = apportion(total, sizes)
    if total >= sum(1 for size in sizes if size):
        assert all(share >= 1 for share, size in zip(shares, sizes, strict=True) if size)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=10))
def test_all_or_nothing_is_shared_out_as_it_is(sizes: list[int]) -> None:
    assert apportion(sum(sizes), sizes) == sizes
    assert apportion(0, sizes) == [0] * len(sizes)


@given(shared_out())
def test_a_larger_part_never_gets_less_but_for_what_it_gives_to_the_empty(case: tuple[int, list[int]]) -> None:
    total, sizes = case
    ranked = sorted(zip(sizes, apportion(total, sizes), strict=True))
    empty = sum(total * size < sum(sizes) for size in sizes if size)
    for (small, less), (large, more) in pairwise(ranked):
        assert small == large or more >= less - empty


@pytest.mark.parametrize(
    ("total", "sizes", "shares"),
    [
        (10, [100, 200, 700], [1, 2, 7]),
        # Quotas 3.4, 3.3, 3.3: the largest remainder gets the one that is left.
        (10, [34, 33, 33], [4, 3, 3]),
        (10, [33, 33, 34], [3, 3, 4]),
        # Equal remainders: the earlier part.
        (5, [10, 10, 10], [2, 2, 1]),
        (4, [97, 1, 1, 1], [1, 1, 1, 1]),
        (3, [97, 1, 1, 1], [3, 0, 0, 0]),
        (7, [0, 10, 0, 4], [0, 5, 0, 2]),
        (0, [0, 0], [0, 0]),
    ],
)
def test_largest_remainders_worked_out_by_hand(total: int, sizes: list[int], shares: list[int]) -> None:
    assert apportion(total, sizes) == shares


@pytest.mark.parametrize("total", [-1, 11])
def test_more_than_there_is_cannot_be_shared_out(total: int) -> None:
    with pytest.raises(ValueError, match=f"cannot choose {total} of 10"):
        apportion(total, [4, 6])
