"""Validation sets and parts are the same in every study."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_up import digits

from proxyflow.data.splits import assign_folds, even_quotas, fixed_part, front_and_back, shared_quotas, split_off


def made_up_hashes(n: int) -> np.ndarray:
    return np.array([f"{number * 7919 % 10007:08x}" for number in range(n)])


def balanced_split(labels: np.ndarray, hashes: np.ndarray, n: int) -> np.ndarray:
    """So many examples with every class alike."""
    quotas = even_quotas(np.bincount(labels), n)
    chosen, nothing = front_and_back(labels, hashes, quotas, np.zeros_like(quotas))
    assert not nothing.any()
    return chosen


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


@given(st.lists(st.integers(2, 60), min_size=2, max_size=8), st.integers(2, 150))
def test_the_number_asked_for_is_kept_and_classes_are_as_even_as_a_third_of_each_allows(
    sizes: list[int], wanted: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    chosen = np.bincount(labels[split_off(labels, made_up_hashes(len(labels)), wanted)], minlength=len(sizes))
    most = np.maximum(np.array(sizes) // 3, 1)
    assert chosen.sum() == min(wanted, most.sum())
    for quota, bound in zip(chosen, most, strict=True):
        assert quota == bound or quota >= chosen.max() - 1


def test_a_small_class_gives_a_third_and_the_others_the_rest() -> None:
    labels = np.repeat(np.arange(2), [1500, 60])
    hashes = np.array([f"{number:08x}" for number in range(1560)])
    assert np.bincount(labels[split_off(labels, hashes, 500)]).tolist() == [480, 20]
    assert np.bincount(labels[split_off(labels, hashes, 40)]).tolist() == [20, 20]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.randoms(use_true_random=False), st.integers(0, 10))
def test_the_split_does_not_depend_on_the_order_of_the_examples(classes: list[int], random: object, n: int) -> None:
    labels, hashes = np.array(classes, dtype=np.int64), made_up_hashes(len(classes))
    order = np.arange(len(classes))
    random.shuffle(order)  # type: ignore[attr-defined]
    chosen = set(hashes[balanced_split(labels, hashes, n)])
    assert set(hashes[order][balanced_split(labels[order], hashes[order], n)]) == chosen


@pytest.mark.parametrize(
    ("wanted", "counts"), [(12, [3, 3, 3, 3]), (14, [4, 4, 3, 3]), (3, [1, 1, 1, 0]), (0, [0, 0, 0, 0])]
)
def test_the_split_is_balanced_whatever_the_sizes_of_the_classes(wanted: int, counts: list[int]) -> None:
    labels = np.repeat(np.arange(4), [40, 10, 5, 100])
    chosen = balanced_split(labels, made_up_hashes(len(labels)), wanted)
    assert np.bincount(labels[chosen], minlength=4).tolist() == counts


def test_the_split_is_no_prefix_of_the_files() -> None:
    labels = np.zeros(200, dtype=np.int64)
    chosen = np.flatnonzero(balanced_split(labels, made_up_hashes(200), 50))
    assert len(chosen) == 50
    assert 60 < chosen.mean() < 140


def test_adding_a_class_leaves_the_validation_examples_of_the_others() -> None:
    labels = np.repeat(np.arange(3), 30)
    hashes = made_up_hashes(90)
    with_all = balanced_split(labels, hashes, 15)
    without_last = balanced_split(labels[:60], hashes[:60], 10)
    assert np.array_equal(with_all[:60], without_last)


@given(st.lists(st.integers(0, 2), min_size=12, max_size=60), st.integers(0, 12), st.integers(0, 12))
def test_the_front_and_the_back_share_nothing_and_grow_without_losing_any(classes: list[int], n: int, m: int) -> None:
    labels, hashes = np.array(classes), made_up_hashes(len(classes))
    room = np.bincount(labels)
    back = even_quotas(room, m)
    front = even_quotas(room - back, n)
    first, last = front_and_back(labels, hashes, front, back)
    assert not (first & last).any()
    assert np.array_equal(np.bincount(labels[first], minlength=len(room)), front)
    assert np.array_equal(np.bincount(labels[last], minlength=len(room)), back)
    more, as_before = front_and_back(labels, hashes, room - back, back)
    assert more[first].all()
    assert np.array_equal(as_before, last)


def test_folds_have_every_class_and_do_not_follow_the_order() -> None:
    examples = digits().train.take(np.arange(200))
    folds = assign_folds(examples, 4, seed=1)
    counts = np.array([np.bincount(folds[examples.labels == label], minlength=4) for label in range(10)])
    assert counts.max() - counts.min() <= np.ptp(counts.sum(axis=1)) // 4 + 1
    mixed = np.random.default_rng(0).permutation(200)
    assert np.array_equal(assign_folds(examples.take(mixed), 4, seed=1), folds[mixed])


def test_copies_of_an_example_share_a_fold() -> None:
    folds = assign_folds(digits().train.take(np.r_[np.arange(200), np.arange(50)]), 5, seed=0)
    assert np.array_equal(folds[200:], folds[:50])
    assert np.bincount(folds[:200]).tolist() == [40] * 5


AVAILABLE = st.lists(st.one_of(st.integers(2, 6), st.integers(2, 300)), min_size=1, max_size=9).map(np.array)


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """What there is of each class, and the sizes of two sets that each have all classes."""
    available = draw(AVAILABLE)
    n_back = draw(st.integers(len(available), max(len(available), int((available - 1).sum()))))
    return available, draw(st.integers(len(available), 800)), n_back


@given(two_sets())
def test_two_sets_have_the_numbers_asked_for_and_every_class_in_both(wanted: tuple[np.ndarray, int, int]) -> None:
    available, n_front, n_back = wanted
    front, back = shared_quotas(available, n_front, n_back)
    assert back.sum() == n_back
    assert front.sum() == min(n_front, available.sum() - n_back)
    assert front.min() >= 1
    assert back.min() >= 1
    assert (front + back <= available).all()


@given(two_sets())
def test_classes_with_enough_for_both_sets_are_even_but_for_rounding(wanted: tuple[np.ndarray, int, int]) -> None:
    available, n_front, n_back = wanted
    front, back = shared_quotas(available, n_front, n_back)
    enough = front + back < available
    # Where a class has too few even for its share of one in either set, others make up for it.
    shares = available[~enough] * n_back / min(n_front + n_back, available.sum())
    assume(((shares >= 1) & (shares <= available[~enough] - 1)).all())
    for quotas in (front, back):
        if enough.any():
            assert np.ptp(quotas[enough]) <= 2
            # A class that gives all it has gives neither set more than the others do, but for the rounding.
            assert quotas.max() <= quotas[enough].max() + 1


@given(st.integers(2, 60), st.integers(1, 6), st.integers(30, 300), st.integers(30, 300))
def test_a_scarce_class_is_shared_in_proportion_to_the_sizes(few: int, others: int, n_front: int, n_back: int) -> None:
    available = np.array([few, *[1000] * others])
    front, back = shared_quotas(available, n_front, n_back)
    if few < (n_front + n_back) // (others + 1):
        assert front[0] + back[0] == few
        share = few * n_back / (n_front + n_back)
        assert abs(back[0] - np.clip(share, 1, few - 1)) <= 0.5


def test_a_scarce_class_is_in_both_sets() -> None:
    front, back = shared_quotas(np.array([500, 20]), 40, 40)
    assert (front.tolist(), back.tolist()) == ([30, 10], [30, 10])


@given(AVAILABLE, st.integers(0, 800))
def test_one_set_alone_has_even_quotas(available: np.ndarray, n: int) -> None:
    front, back = shared_quotas(available, n, 0)
    assert front.tolist() == even_quotas(available, n).tolist()
    assert not back.any()


@given(st.integers(2, 8), st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_where_no_class_is_scarce_a_set_does_not_depend_on_the_others_size(
    classes: int, n_front: int, n_back: int, other: int
) -> None:
    available = np.full(classes, 100)
    front, back = shared_quotas(available, n_front * classes, n_back * classes + 1)
    assert back.tolist() == shared_quotas(available, other * classes, n_back * classes + 1)[1].tolist()
    assert front.tolist() == shared_quotas(available, n_front * classes, other * classes)[0].tolist()
