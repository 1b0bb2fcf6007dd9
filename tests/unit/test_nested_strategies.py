"""For equal seeds a larger fraction selects all that a smaller one does: so that fidelities of one search are nested."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyflow.strategies import Strategy, parse_strategy, strategies
from proxyflow.strategies.mix import proportional_order
from proxyflow.testing.strategies import make_pool

SPELLINGS = [
    "random:{}",
    "half-classes:{}",
    "other-half-classes:{}",
    "classes:0+1,fraction={}",
    "easiest-classes:2,fraction={}",
    "confusable-classes:2,fraction={}",
    "easiest:{}",
    "easiest:{},balance=class",
    "hardest:{},balance=class",
    "mix:{}",
    "mix:{},balance=class",
    "k-center:{}",
    "k-center:{},balance=class",
    "herding:{},balance=class",
    "prototypes:{}",
    "prototypes:{},balance=class,keep=hard,clusters=3",
]
WITH_DROP = ["hardest:{},drop={}", "hardest:{},drop={},balance=class", "coverage:{},drop={},strata=7"]
thousandths = st.integers(1, 999).map(lambda number: number / 1000)


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], list[float], int]:
    """Sizes of classes, rising fractions, and a seed."""
    sizes = draw(st.lists(st.one_of(st.integers(1, 4), st.integers(1, 60)), min_size=4, max_size=9))
    return tuple(sizes), sorted(draw(st.sets(thousandths, min_size=2, max_size=4))), draw(st.integers(0, 5))


def assert_nested(found: list[Strategy], sizes: tuple[int, ...], seed: int, tied: bool) -> None:
    pool = make_pool(sizes, seed, tied)
    for less, more in pairwise(found):
        assert set(less.select(pool, seed)) <= set(more.select(pool, seed)), (less.canonical, more.canonical)


def test_all_nested_strategies_are_tested_here() -> None:
    tested = {text.partition(":")[0] for text in (*SPELLINGS, *WITH_DROP)}
    assert {name for name, cls in strategies.items() if cls.nested} == tested


@pytest.mark.parametrize("text", SPELLINGS)
@given(case=cases(), tied=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_larger_fraction_selects_a_superset(
    text: str, case: tuple[tuple[int, ...], list[float], int], tied: bool
) -> None:
    sizes, fractions, seed = case
    assert_nested([parse_strategy(text.format(fraction)) for fraction in fractions], sizes, seed, tied)


@pytest.mark.parametrize("text", WITH_DROP)
@given(case=cases(), drop=thousandths, tied=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_larger_fraction_with_the_same_drop_selects_a_superset(
    text: str, case: tuple[tuple[int, ...], list[float], int], drop: float, tied: bool
) -> None:
    sizes, fractions, seed = case
    allowed = [fraction for fraction in fractions if _allowed(text, fraction, drop)]
    assert_nested([parse_strategy(text.format(fraction, drop)) for fraction in allowed], sizes, seed, tied)


def _allowed(text: str, fraction: float, drop: float) -> bool:
    return (drop < fraction or text.startswith("coverage")) and round(drop + fraction, 3) <= 1


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), st.data())
@settings(max_examples=50, deadline=None)
def test_a_proportional_order_begins_with_the_shares_of_the_classes(sizes: list[int], data: st.DataObject) -> None:
    from proxyflow.strategies.budget import apportion

    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = proportional_order(labels, np.random.default_rng(1))
    assert sorted(order) == list(range(len(labels)))
    total = data.draw(st.integers(0, len(labels)))
    shares = np.bincount(labels[order[:total]], minlength=len(sizes))
    assert shares.tolist() == apportion(total, sizes, at_least_one=False)


def test_a_mix_has_half_of_its_budget_from_the_easiest_of_all_or_of_each_class() -> None:
    pool = make_pool((40, 25, 61, 10, 33, 18))
    loss = pool.scores["loss"]
    chosen = np.isin(pool.ids, parse_strategy("mix:0.4").select(pool, 0))
    assert chosen.sum() == 75
    assert set(np.argsort(loss)[:38]) <= set(np.flatnonzero(chosen))
    assert chosen[np.argsort(loss)[:50]].sum() < 50  # the others come from everywhere
    chosen = np.isin(pool.ids, parse_strategy("mix:0.4,balance=class").select(pool, 0))
    for label in range(6):
        members = np.flatnonzero(pool.labels == label)
        half = int(chosen[members].sum()) // 2
        assert half >= 2
        assert chosen[members[np.argsort(loss[members])[:half]]].all()


def test_fractions_of_one_search_are_nested_for_a_class_that_loses_a_seat_by_largest_remainders() -> None:
    pool = make_pool((6, 6, 2))
    found = [parse_strategy(f"random:{size / 14!r}") for size in range(1, 14)]
    assert_nested(found, (6, 6, 2), 0, tied=False)
    small = [int(np.isin(pool.ids[pool.labels == 2], each.select(pool, 0)).sum()) for each in found]
    assert small == sorted(small)
    assert dataclasses.replace(found[0], fraction=0.5).size(pool) == 7
