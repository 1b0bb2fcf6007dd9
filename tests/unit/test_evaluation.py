"""Validation and test examples: how many, the same ones in every study, and none that training sees."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up import random_images
from picture_files import make_folder
from source_files import make_fashion_mnist, make_imagenette, published_md5

from proxyflow.core.errors import InvalidValue
from proxyflow.data import evaluation
from proxyflow.data.catalog import DataOptions, Dataset, load_dataset
from proxyflow.data.evaluation import EvaluationSettings, Split, split
from proxyflow.data.images.sources import download
from proxyflow.data.protocol import Contents, Examples

# With the 500 validation examples that it has where nobody says otherwise.
DIGITS = "ab23ed169cc821522c3b2a420fd8a6aecc172c047d92970db437b468dd57035a"


@pytest.fixture(autouse=True)
def ten_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten where it is 500, as the sets here are small."""
    monkeypatch.setattr(evaluation, "VALIDATION_EXAMPLES", 10)
    monkeypatch.setattr("proxyflow.data.splits.VALIDATION_EXAMPLES", 10)


def hashes(images: Examples | None) -> set[str]:
    assert images is not None
    return set(images.content_hashes)


def own(
    train: int = 200,
    valid: int = 100,
    settings: EvaluationSettings = evaluation.DEFAULT,
    auto: int | None = None,
    part: int | None = None,
) -> Split:
    candidates = random_images([n % 2 for n in range(valid)], seed=2)
    training = random_images([n % 2 for n in range(train)])
    return split("made", Contents(("a", "b"), training, candidates, valid_examples=auto), settings, part)


@pytest.mark.parametrize(
    ("train", "valid", "expected"), [(200, 100, 40), (200, 30, 30), (30, 100, 10), (30, 6, 6), (1000, 100, 100)]
)
def test_auto_takes_all_of_the_split_up_to_a_fifth_of_the_training_examples(
    train: int, valid: int, expected: int
) -> None:
    split = own(train, valid)
    assert len(split.valid) == expected
    assert np.bincount(split.valid.labels).tolist() == [expected // 2] * 2
    assert split.valid.ids.tolist() == list(range(expected))
    assert split.test is None
    assert len(split.train) == train


def test_a_data_set_may_have_a_number_of_its_own() -> None:
    assert len(own(auto=50).valid) == 50
    assert len(own(auto=50, settings=EvaluationSettings(60)).valid) == 60
    assert len(own(auto=200).valid) == 100


def test_a_part_has_a_fifth_of_its_own_examples() -> None:
    assert len(own(part=100).valid) == 20
    assert len(own(part=20).valid) == 10
    assert hashes(own(part=100).valid) < hashes(own().valid)
    assert len(own(part=100, settings=EvaluationSettings(60)).valid) == 60


def test_sets_of_other_sizes_are_nested_and_test_examples_stay_the_same() -> None:
    small, large = own(settings=EvaluationSettings(20, 10)), own(settings=EvaluationSettings(60, 10))
    assert hashes(small.valid) < hashes(large.valid)
    assert hashes(small.test) == hashes(large.test)
    more = own(settings=EvaluationSettings(20, 40))
    assert hashes(small.test) < hashes(more.test)
    assert hashes(small.valid) == hashes(more.valid) < hashes(own().valid)
    assert not hashes(more.test) & hashes(more.valid)


def test_test_examples_are_taken_from_what_auto_would_use_where_there_are_no_more() -> None:
    assert [len(own(1000, 100, EvaluationSettings(test_examples=n)).valid) for n in (10, 50, 98)] == [90, 50, 2]
    assert len(own(200, 100, EvaluationSettings(test_examples=60)).valid) == 40


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (EvaluationSettings(101), "valid_examples"),
        (EvaluationSettings(91, 10), "valid_examples"),
        (EvaluationSettings(1), "valid_examples"),
        (EvaluationSettings(test_examples=1), "test_examples"),
        (EvaluationSettings(test_examples=99), "test_examples"),
        (EvaluationSettings(50, 100), "test_examples"),
    ],
)
def test_what_a_data_set_has_not_is_refused_by_name(settings: EvaluationSettings, name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        own(settings=settings)
    assert caught.value.name == name
    assert "made" in str(caught.value)
    with pytest.raises(InvalidValue) as caught:
        split("made", Contents(("a", "b"), random_images([0, 1] * 50), None), settings, None)
    assert caught.value.name == name


@pytest.mark.parametrize("wrong", [{"valid_examples": 0}, {"valid_examples": "many"}, {"test_examples": -1}])
def test_numbers_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidValue) as caught:
        EvaluationSettings(**wrong)  # type: ignore[arg-type]
    assert (caught.value.name, caught.value.value) == next(iter(wrong.items()))


def load(name: str, valid: int | None = None, test: int = 0, folder: Path | None = None) -> Dataset:
    return load_dataset(name, DataOptions(folder, evaluation=EvaluationSettings(valid, test)), lambda text: None)


def test_examples_that_are_split_off_are_taken_from_training() -> None:
    whole = load("digits")
    assert len(whole.valid) == 179, "a tenth"
    assert load("digits", 500).fingerprint == DIGITS, "however the number came about"
    for valid, test in ((100, 0), (None, 50), (100, 50), (400, 150)):
        found = load("digits", valid, test)
        held_out = found.valid.content_hashes.tolist() + (found.test.content_hashes.tolist() if found.test else [])
        assert len(found.valid) == (valid or 179)
        assert len(held_out) == len(found.valid) + test
        assert not set(held_out) & hashes(found.train)
        # Copies of an image are trained on, both of them.
        assert len(found.train) + len(held_out) == 1797
        assert found.train.ids.tolist() == list(range(len(found.train)))
        assert hashes(found.valid) <= hashes(whole.valid) or len(found.valid) > 179
        assert found.preprocessing == whole.preprocessing
    assert hashes(load("digits", 100, 50).test) == hashes(load("digits", 400, 50).test)


def test_the_order_of_training_is_that_of_the_content_where_files_have_none(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets" / "train", train=60, valid=0) / "train"
    found = load(f"folder:{root}", 20, 6, tmp_path / "data")
    (root / "ant").rename(root / "later")
    (root / "later").rename(root / "ant")
    for number, path in enumerate(sorted((root / "ant").iterdir(), reverse=True)):
        path.rename(path.with_name(f"renamed-{number}.jpg"))
    again = load(f"folder:{root}", 20, 6, tmp_path / "data")
    assert again.train.content_hashes.tolist() == found.train.content_hashes.tolist()
    assert again.fingerprint == found.fingerprint


def test_a_part_of_what_was_split_off_is_no_larger_than_a_fifth_of_it() -> None:
    assert [len(load(f"digits@{n}").valid) for n in (20, 100, 1000)] == [10, 20, 179]
    assert hashes(load("digits@100").valid) < hashes(load("digits").valid)
    assert hashes(load("digits@100").train) <= hashes(load("digits").train)


def test_the_papers_sets_have_the_papers_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "md5_of", published_md5)
    monkeypatch.setattr(evaluation, "AVAILABLE_SHARE", 10.0)
    make_imagenette("imagewoof", tmp_path)
    from proxyflow.data.catalog import datasets

    source = datasets["imagewoof"]
    few = dataclasses.replace(source, valid_examples=10)  # type: ignore[type-var]
    assert source.find("", tmp_path).valid_examples == 500
    assert few.find("", tmp_path).valid_examples == 10
    assert datasets["imagenette"].find.__self__.valid_examples == 500  # type: ignore[attr-defined]
    assert datasets["imagenette2"].find.__self__.valid_examples is None  # type: ignore[attr-defined]


def test_the_data_set_uses_what_was_asked_for(tmp_path: Path) -> None:
    make_fashion_mnist(tmp_path / "fashion-mnist", train=300, valid=100)
    found = load("fashion-mnist", folder=tmp_path)
    assert (len(found.train), len(found.valid)) == (300, 60)
    tested = load("fashion-mnist@100", 30, 20, tmp_path)
    assert tested.test is not None
    assert (len(tested.train), len(tested.valid), len(tested.test)) == (100, 30, 20)
    assert hashes(tested.valid) < hashes(found.valid)
    with pytest.raises(InvalidValue) as caught:
        load("fashion-mnist", 101, folder=tmp_path)
    assert (caught.value.name, caught.value.value) == ("valid_examples", 101)


def uneven(settings: EvaluationSettings, own_split: bool, few: int = 20, many: int = 300) -> Split:
    """Of a data set of which so many examples of two classes may be held back."""
    labels = np.array(([0] * many + [1] * few) * 3)
    images, held = random_images(labels.tolist()), np.arange(len(labels)) < many + few
    train, valid = (images.take(~held), images.take(held)) if own_split else (images, None)
    return split("made", Contents(("a", "b"), train, valid), settings, None)


@pytest.mark.parametrize("own_split", [True, False])
@pytest.mark.parametrize(
    ("valid", "test", "expected"),
    [(40, 40, (10, 10)), (60, 20, (15, 5)), (20, 60, (5, 15)), (100, 4, (19, 1)), (10, 10, (5, 5)), (4, 200, (1, 19))],
)
def test_a_scarce_class_is_in_the_validation_set_and_in_the_test_set(
    own_split: bool, valid: int, test: int, expected: tuple[int, int]
) -> None:
    split = uneven(EvaluationSettings(valid, test), own_split)
    assert split.test is not None
    assert (len(split.valid), len(split.test)) == (valid, test)
    assert (int((split.valid.labels == 1).sum()), int((split.test.labels == 1).sum())) == expected
    assert not hashes(split.valid) & hashes(split.test)


@pytest.mark.parametrize("own_split", [True, False])
def test_a_validation_set_that_test_examples_leave_small_is_warned_of(own_split: bool) -> None:
    def warnings(valid: int | None, test: int) -> tuple[str, ...]:
        return uneven(EvaluationSettings(valid, test), own_split, few=300).warnings

    # 600 may be held back, of which auto takes 240 or 180.
    assert not warnings(None, 0)
    assert not warnings(None, 300)
    assert not warnings(None, 500)
    assert not warnings(10, 300), "a number that was asked for"
    assert len(warnings(None, 501)) == 1
    (line,) = warnings(None, 590)
    assert "test_examples=590" in line
    assert " 10 validation examples" in line
    assert " 9.5 points" in line


def test_a_small_share_of_the_automatic_number_is_warned_of() -> None:
    train = random_images([0, 1] * 4000, size=2, channels=3)
    contents = Contents(("a", "b"), train, random_images([0, 1] * 600, seed=2, size=4))
    few = split("made", contents, EvaluationSettings(test_examples=1060), None)
    assert len(few.valid) == 140 < 1200 / 5
    assert len(few.warnings) == 1


def test_more_test_examples_than_there_are_suggest_half_of_what_can_be_held_back() -> None:
    with pytest.raises(InvalidValue) as caught:
        own(settings=EvaluationSettings(test_examples=99))
    assert "at most half of them, 50," in caught.value.rule
    half = own(settings=EvaluationSettings(test_examples=50))
    assert len(half.valid) == 40


@pytest.mark.parametrize("settings", [EvaluationSettings(1), EvaluationSettings(test_examples=1)])
def test_fewer_examples_than_classes_are_told_how_many(settings: EvaluationSettings) -> None:
    with pytest.raises(InvalidValue) as caught:
        own(settings=settings)
    assert caught.value.value == 1
    assert "give at least 2" in caught.value.rule
