"""Coverage-centric selection against algorithm 1 of its paper, worked out by hand and in general."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyflow.core.errors import InvalidValue
from proxyflow.strategies import ExamplePool, parse_strategy
from proxyflow.strategies.coverage import even_shares, strata_of
from proxyflow.testing.strategies import make_pool

# By a drop of a quarter the last three go. Four intervals of the rest, [0, 8], hold 5, 1, 0 and 3 examples.
LOSS = [0.0, 0.5, 1.0, 1.5, 1.9, 3.0, 6.5, 7.0, 8.0, 50.0, 60.0, 70.0]


def pool_of(loss: list[float]) -> ExamplePool:
    pool, n = make_pool((len(loss) // 2, len(loss) - len(loss) // 2)), len(loss)
    return dataclasses.replace(pool, ids=np.arange(n), scores={"loss": np.array(loss), "margin": np.zeros(n)})


def test_the_example_that_was_worked_out_by_hand() -> None:
    # 6 of 12: the smallest stratum has 1 of 6 // 3; the next gives 5 // 2 = 2 of its 3; the largest the 3 that remain.
    chosen = [parse_strategy("coverage:0.5,drop=0.25,strata=4").select(pool_of(LOSS), seed) for seed in range(30)]
    for ids in chosen:
        assert (len(ids), {5} <= set(ids), sum(6 <= i <= 8 for i in ids), sum(i <= 4 for i in ids)) == (6, True, 2, 3)
    # Chance decides which of a stratum.
    assert {i for ids in chosen for i in ids} == set(range(9))


def test_all_that_are_left_can_be_chosen() -> None:
    assert parse_strategy("coverage:0.75,drop=0.25").select(pool_of(LOSS), 0).tolist() == list(range(9))
    assert parse_strategy("coverage:1.0,drop=0").canonical == "full"


@pytest.mark.parametrize("text", ["coverage:1.0", "coverage:0.91", "coverage:0.5,drop=0.6"])
def test_more_than_is_left_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(InvalidValue, match="F may be at most 0") as caught:
        parse_strategy(text)
    assert caught.value.name == "strategy coverage: F"


def test_scores_that_are_all_equal_are_one_stratum_and_huge_ones_are_no_trouble() -> None:
    assert len(parse_strategy("coverage:0.5").select(make_pool(tied=True), 0)) == 94
    assert strata_of(np.array([-1.7e308, 0.0, 1.7e308]), 4).tolist() == [0, 2, 3]


def test_a_low_score_can_be_a_hard_one() -> None:
    pool = pool_of(LOSS)
    low = dataclasses.replace(pool, scores={**pool.scores, "margin": -np.array(LOSS)})
    chosen = parse_strategy("coverage:0.5,drop=0.25,strata=4,by=margin").select(low, 0)
    assert chosen.max() <= 8


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.data())
@settings(max_examples=200)
def test_strata_give_evenly_as_far_as_they_have_examples(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(sizes)))
    shares = even_shares(total, sizes)
    assert sum(shares) == total
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    open_ones = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    if open_ones:
        assert max(open_ones) - min(open_ones) <= 1
        assert all(share <= max(open_ones) + 1 for share in shares)
    if total < sum(sizes):
        more = even_shares(total + 1, sizes)
        assert all(0 <= b - a <= 1 for a, b in zip(shares, more, strict=True))


@given(st.integers(1, 120), st.integers(1, 100), st.integers(0, 99), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_exactly_the_stated_number_is_chosen_and_none_of_the_hardest(
    n: int, percent: int, drop: int, strata: int, seed: int
) -> None:
    if percent + drop > 100:
        return
    loss = np.random.default_rng(seed).exponential(size=n).tolist()
    chosen = parse_strategy(f"coverage:{percent / 100},drop={drop / 100},strata={strata}").select(pool_of(loss), seed)
    assert len(chosen) == max(1, int(Fraction(percent, 100) * n + Fraction(1, 2)))
    kept = max(1, int(Fraction(100 - drop, 100) * n + Fraction(1, 2)))
    assert set(chosen) <= set(np.argsort(loss)[:kept])
