"""Validation sets and parts are the same in every study."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.data.splits import balanced_split, even_quotas, fixed_part, split_off


def made_up_hashes(n: int) -> np.ndarray:
    return np.array([f"{number * 7919 % 10007:08x}" for number in range(n)])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 200))
def test_quotas_use_all_that_is_wanted_and_are_as_even_as_the_classes_allow(available: list[int], wanted: int) -> None:
    quotas = even_quotas(np.array(available), wanted)
    assert quotas.sum() == min(wanted, sum(available))
    assert (quotas <= available).all()
    # Nobody that had more to give has two less than another got.
    for has, quota in zip(available, quotas, strict=True):
        assert quota == has or quota >= quotas.max() - 1


def test_a_class_that_is_too_small_is_made_up_for_by_the_others() -> None:
    labels = np.repeat(np.arange(3), [2, 40, 40])
    chosen = balanced_split(labels, made_up_hashes(82), 30)
    assert np.bincount(labels[chosen]).tolist() == [2, 14, 14]


def test_most_of_each_class_stays_for_training() -> None:
    labels = np.repeat(np.arange(4), [2, 3, 30, 90])
    chosen = split_off(labels, made_up_hashes(125), 500)
    assert np.bincount(labels[chosen]).tolist() == [1, 1, 10, 30]


def test_of_an_image_that_is_there_twice_both_copies_are_trained_on() -> None:
    labels, hashes = np.repeat(np.arange(2), 40), made_up_hashes(80)
    hashes[1:20:2] = hashes[0:20:2]  # half of the first class
    hashes[79] = hashes[39]  # and one image under both labels
    chosen = split_off(labels, hashes, 500)
    assert not set(hashes[chosen]) & set(hashes[~chosen])
    assert np.bincount(labels[chosen]).tolist() == [13, 13]
    hashes[:40:2] = hashes[1:40:2]  # all of the first class
    assert np.bincount(labels[split_off(labels, hashes, 500)]).tolist() == [13, 13]


@pytest.mark.parametrize("n", [4, 10, 60, 124])
def test_a_part_has_the_stated_size_and_the_proportions_of_the_whole(n: int) -> None:
    labels = np.repeat(np.arange(4), [5, 10, 20, 90])
    counts = np.bincount(labels[fixed_part(labels, made_up_hashes(125), n)], minlength=4)
    assert counts.sum() == n
    assert (counts >= 1).all()
    assert np.abs(counts - n * np.array([5, 10, 20, 90]) / 125).max() < 2


def test_a_larger_part_holds_the_smaller_one_where_shares_grow() -> None:
    labels, hashes = np.repeat(np.arange(4), 50), made_up_hashes(200)
    small, large = fixed_part(labels, hashes, 40), fixed_part(labels, hashes, 120)
    assert (large[small]).all()


def test_a_part_does_not_depend_on_the_order() -> None:
    labels, hashes = np.repeat(np.arange(4), 50), made_up_hashes(200)
    order = np.random.default_rng(0).permutation(200)
    again = fixed_part(labels[order], hashes[order], 30)
    assert set(hashes[order][again]) == set(hashes[fixed_part(labels, hashes, 30)])
