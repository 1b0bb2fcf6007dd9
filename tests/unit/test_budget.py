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
def test_a_share_is_as_near_to_its_quota_as_is_documented(case: tuple[int, list[int]]) -> None:
    total, sizes = case
    everything, k = sum(sizes), sum(size > 0 for size in sizes)
    for share, size in zip(apportion(total, sizes, at_least_one=False), sizes, strict=True):
        part = Fraction(size, everything) if everything else Fraction(0)
        away = abs(share - total * part)
        assert away <= Fraction(1, 2) + part * Fraction(k - 2, 2)
        assert away < 1 or k > 3


@given(shared_out())
@settings(max_examples=300)
def test_what_is_left_for_parts_that_are_not_lifted_is_shared_out_among_them_alone(case: tuple[int, list[int]]) -> None:
    total, sizes = case
    shares = apportion(total, sizes)
    rest = [part for part, share in enumerate(shares) if share > 1]
    left, of = [shares[part] for part in rest], [sizes[part] for part in rest]
    assert left == apportion(sum(left), of, at_least_one=False)


@given(shared_out(), st.booleans())
@settings(max_examples=300)
def test_one_more_to_share_out_takes_from_nobody(case: tuple[int, list[int]], at_least_one: bool) -> None:
    total, sizes = case
    if total == sum(sizes):
        return
    before, after = (apportion(each, sizes, at_least_one) for each in (total, total + 1))
    assert sorted(b - a for a, b in zip(before, after, strict=True)) == [0] * (len(sizes) - 1) + [1]


def seat_by_seat(total: int, sizes: list[int], at_least_one: bool) -> list[int]:
    """The definition, one seat at a time."""
    shares = [0] * len(sizes)
    for _ in range(total):
        unlifted = at_least_one and any(size and not share for size, share in zip(sizes, shares, strict=True))
        open_parts = [p for p, size in enumerate(sizes) if size and not (unlifted and shares[p])]
        shares[min(open_parts, key=lambda p: (Fraction(2 * shares[p] + 1, sizes[p]), p))] += 1
    return shares


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.booleans(), st.data())
@settings(max_examples=300)
def test_shares_are_those_of_the_definition(sizes: list[int], at_least_one: bool, data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(sizes)))
    assert apportion(total, sizes, at_least_one) == seat_by_seat(total, sizes, at_least_one)


def test_many_parts_of_many_examples_are_shared_out_exactly() -> None:
    sizes = [1 + number % 199 for number in range(10_000)]
    shares = apportion(100_000, sizes)
    assert sum(shares) == 100_000
    # A share is a whole number of seats, whose priorities are all below those of every seat that was not given.
    last = max(Fraction(2 * share - 1, size) for share, size in zip(shares, sizes, strict=True) if share > 1)
    first = min(Fraction(2 * share + 1, size) for share, size in zip(shares, sizes, strict=True) if share < size)
    assert last <= first


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


@given(shared_out(), st.booleans())
def test_a_larger_part_never_gets_less(case: tuple[int, list[int]], at_least_one: bool) -> None:
    total, sizes = case
    ranked = sorted(zip(sizes, apportion(total, sizes, at_least_one), strict=True))
    for (small, less), (large, more) in pairwise(ranked):
        assert small == large or more >= less


@pytest.mark.parametrize(
    ("total", "sizes", "shares"),
    [
        (10, [100, 200, 700], [1, 2, 7]),
        # The seats 0.5 / 34, 1.5 / 34, 2.5 / 34, 3.5 / 34 come before 3.5 / 33.
        (10, [34, 33, 33], [4, 3, 3]),
        (10, [33, 33, 34], [3, 3, 4]),
        # Equal priorities: the earlier part.
        (5, [10, 10, 10], [2, 2, 1]),
        (4, [97, 1, 1, 1], [1, 1, 1, 1]),
        (3, [97, 1, 1, 1], [1, 1, 1, 0]),
        (2, [1, 1, 97, 1], [1, 0, 1, 0]),
        # Largest remainders give the small part 2 of 10, and 1 of 11. Here 4.5 / 6 and 1.5 / 2 are equal priorities.
        (10, [6, 6, 2], [5, 4, 1]),
        (11, [6, 6, 2], [5, 5, 1]),
        (7, [0, 10, 0, 4], [0, 5, 0, 2]),
        (0, [0, 0], [0, 0]),
    ],
)
def test_shares_worked_out_by_hand(total: int, sizes: list[int], shares: list[int]) -> None:
    assert apportion(total, sizes) == shares


@pytest.mark.parametrize("total", [-1, 11])
def test_more_than_there_is_cannot_be_shared_out(total: int) -> None:
    with pytest.raises(ValueError, match=f"cannot choose {total} of 10"):
        apportion(total, [4, 6])
