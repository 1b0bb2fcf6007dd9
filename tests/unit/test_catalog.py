"""Every run of every study is judged on the same validation examples, so the split must never move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import digits

from proxyflow.data.catalog import load_dataset
from proxyflow.data.sources import datasets
from proxyflow.data.splits import balanced_split
from proxyflow.errors import UnknownName


def test_digits_have_1297_training_and_500_validation_examples_of_ten_classes() -> None:
    dataset = digits()
    assert (len(dataset.train), len(dataset.valid)) == (1297, 500)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.image_size == 32
    assert dataset.train.images.shape[1:] == (8, 8, 1)


def test_validation_of_digits_is_balanced_and_shares_nothing_with_training() -> None:
    dataset = digits()
    assert np.bincount(dataset.valid.labels).tolist() == [50] * 10
    assert not set(dataset.valid.content_hashes) & set(dataset.train.content_hashes)


def test_training_ids_of_digits_count_the_training_order() -> None:
    assert digits().train.example_ids.tolist() == list(range(1297))


def test_digits_are_the_same_on_every_machine() -> None:
    # A new value means that every logged study of this data set can no longer be compared with new ones.
    assert digits().fingerprint == "ab23ed169cc821522c3b2a420fd8a6aecc172c047d92970db437b468dd57035a"
    assert load_dataset("digits").fingerprint == digits().fingerprint


def test_digits_keep_all_seventeen_levels_of_ink() -> None:
    levels = np.unique(digits().train.images)
    assert len(levels) == 17
    assert (levels[0], levels[-1]) == (0, 255)


def test_the_statistics_of_digits_are_those_of_the_training_pixels() -> None:
    dataset = digits()
    pixels = dataset.train.images.astype(np.float64) / 255
    assert dataset.mean == pytest.approx((pixels.mean(),), abs=1e-12)
    assert dataset.std == pytest.approx((pixels.std(),), abs=1e-12)


def made_up_hashes(n: int) -> np.ndarray:
    return np.array([f"{number * 7919 % 10007:08x}" for number in range(n)])


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


def test_an_unknown_data_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        load_dataset("digit")
    message = str(caught.value)
    assert "dataset=digit " in message
    assert "did you mean digits?" in message
    assert all(name in message for name in datasets)


def test_every_data_set_says_what_it_is() -> None:
    assert "digits" in datasets
    assert all(source.description.strip() for source in datasets.values())
