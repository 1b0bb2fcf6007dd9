"""Every run of every study is judged on the same validation examples, so the split must never move."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from made_up import digits

from proxyflow.core.errors import UnknownName
from proxyflow.data.catalog import DataOptions, datasets, load_dataset
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.splits import assign_folds


def test_digits_have_1297_training_and_500_validation_examples_of_ten_classes() -> None:
    dataset = digits()
    assert (len(dataset.train), len(dataset.valid)) == (1297, 500)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.preprocessing.image_size == 32
    assert dataset.train.images.shape[1:] == (8, 8, 1)


def test_validation_of_digits_is_balanced_and_shares_nothing_with_training() -> None:
    dataset = digits()
    assert np.bincount(dataset.valid.labels).tolist() == [50] * 10
    assert not set(dataset.valid.content_hashes) & set(dataset.train.content_hashes)


def test_training_ids_of_digits_count_the_training_order() -> None:
    assert digits().train.ids.tolist() == list(range(1297))


def test_digits_are_the_same_on_every_machine() -> None:
    # A new value means that every logged study of this data set can no longer be compared with new ones.
    assert digits().fingerprint == "ab23ed169cc821522c3b2a420fd8a6aecc172c047d92970db437b468dd57035a"
    assert load_dataset("digits").fingerprint == digits().fingerprint


@pytest.mark.parametrize(
    ("name", "valid", "test", "sizes", "fingerprint"),
    [
        ("digits", None, 100, (1201, 496, 100), "2f90c095a546ea175f1e8b9fd9b3f168b148751ae992f1823d737e6ad436c760"),
        ("digits", 300, 200, (1297, 300, 200), "3ddc28c0abe133bc9f6aca86a5273bdc21cda30f450ae39ab3eb2e96526692a9"),
        ("digits@400", None, 0, (400, 500), "f9dbb50b16e8d0986762eb642f1be8a388702abd87052078fa7f87aa79f3aaef"),
        ("digits@400", None, 100, (400, 496, 100), "18851a168f27ab78f349880da69f6556cdf6afbff4e0898094a2b007c305830c"),
        ("digits@400", 550, 0, (400, 550), "6fbd90ebeefa204ceff284f56089b8f3918a9ef18564568e6617865a53ae0f03"),
        ("digits@1200", None, 0, (1200, 500), "ed58bba8972c7c80a86d9c81e854d4fd49ef72fa82295c5c8356bff6a9df65ec"),
    ],
)
def test_splits_and_parts_never_move(
    name: str, valid: int | None, test: int, sizes: tuple[int, ...], fingerprint: str
) -> None:
    options = DataOptions(evaluation=EvaluationSettings(valid, test))
    found = load_dataset(name, options, lambda line: None)
    assert tuple(map(len, (found.train, *found.held_out.values()))) == sizes
    assert found.fingerprint == fingerprint


@pytest.mark.parametrize(
    ("folds", "seed", "digest"),
    [
        (5, 0, "3e0afd97ff3dd72d9cb20494724a9fccef8222ca05ee1ca9e4996369534e42cf"),
        (3, 7, "22238a6ee4760c1a8d94cb7071d0d018e96cdea6dfd91d8b3f9b8f89c4c73f30"),
    ],
)
def test_folds_never_move(folds: int, seed: int, digest: str) -> None:
    assert hashlib.sha256(assign_folds(digits().train, folds, seed).tobytes()).hexdigest() == digest


def test_digits_keep_all_seventeen_levels_of_ink() -> None:
    levels = np.unique(digits().train.images)
    assert len(levels) == 17
    assert (levels[0], levels[-1]) == (0, 255)


def test_the_statistics_of_digits_are_those_of_the_training_pixels() -> None:
    dataset = digits()
    pixels = dataset.train.images.astype(np.float64) / 255
    assert dataset.preprocessing.mean == pytest.approx((pixels.mean(),), abs=1e-12)
    assert dataset.preprocessing.std == pytest.approx((pixels.std(),), abs=1e-12)


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
