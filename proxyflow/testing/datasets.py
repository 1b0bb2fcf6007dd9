"""What every data set promises: numbered examples with content hashes, and validation that shares nothing with them."""

from __future__ import annotations

import dataclasses
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from proxyflow.data.catalog import DataOptions, Dataset, describe, load_dataset, syntax_of
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.images.augment import CROPS
from proxyflow.data.images.reduce import stored_side
from proxyflow.data.images.store import ImageSet, digest_of
from proxyflow.data.protocol import datasets, fingerprint
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset
from proxyflow.testing.checks import Check, Contract, assert_same


def dataset_checks(name: str, options: DataOptions | None = None) -> tuple[Check, ...]:
    """Checks of a data set that is small: they load it several times and write subsets of it.

    Args:
        name: as the option `dataset` takes it, `folder:PATH` for example.
        options: where it is.
    """
    return contract.checks(_Loaded(name, options or DataOptions()))


class _Loaded:
    """A data set by its name, loaded when it is first needed."""

    def __init__(self, name: str, options: DataOptions) -> None:
        self.name, self.options = name, options

    def load(self, part: str = "", **options: Any) -> Dataset:
        return load_dataset(self.name + part, dataclasses.replace(self.options, **options), lambda text: None)

    @cached_property
    def dataset(self) -> Dataset:
        return self.load()

    @property
    def images(self) -> list[ImageSet]:
        """Its training and validation examples, where they are images."""
        return [each for each in (self.dataset.train, self.dataset.valid) if isinstance(each, ImageSet)]


contract = Contract[_Loaded]()


@contract.promise
def it_says_what_it_is(loaded: _Loaded) -> None:
    kind = loaded.name.partition(":")[0]
    assert datasets[kind].description.strip(), f"the data set {kind} has no description"
    assert syntax_of(kind, datasets[kind]).startswith(kind)


@contract.promise
def it_keeps_its_name_and_every_class_has_examples(loaded: _Loaded) -> None:
    dataset = loaded.dataset
    assert dataset.name == loaded.name, f"it is called {dataset.name}, and was asked for as {loaded.name}"
    count = len(dataset.class_names)
    assert len(set(dataset.class_names)) == count >= 2, f"its classes are {dataset.class_names}"
    for what, examples in (("training", dataset.train), ("validation", dataset.valid)):
        told = f"labels of the {what} examples are {sorted(set(examples.labels))}, and classes 0 to {count - 1}"
        assert set(examples.labels) == set(range(count)), told


@contract.promise
def training_ids_count_the_training_order(loaded: _Loaded) -> None:
    train = loaded.dataset.train
    assert_same(train.ids, np.arange(len(train)), "training ids")


@contract.promise
def validation_is_balanced_and_shares_nothing_with_training(loaded: _Loaded) -> None:
    dataset = loaded.dataset
    counts = np.bincount(dataset.valid.labels)
    assert counts.max() - counts.min() <= 1, f"classes have {counts.tolist()} validation examples"
    both = set(dataset.train.content_hashes) & set(dataset.valid.content_hashes)
    assert not both, f"{len(both)} examples are in the training set and in the validation set"


@contract.promise
def test_examples_are_held_out_of_everything(loaded: _Loaded) -> None:
    dataset = loaded.dataset
    classes = len(dataset.class_names)
    if len(dataset.valid) < 2 * classes:
        return  # one validation example of each class cannot be shared out
    held_out = EvaluationSettings(test_examples=classes)
    found = loaded.load(evaluation=held_out)
    assert found.test is not None, "it has no test examples where they are asked for"
    assert_same(np.bincount(found.test.labels), [1] * classes, "test examples of each class")
    parts = [set(examples.content_hashes) for examples in (found.train, found.valid, found.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)), "an example is in two of training, validation and test set"
    assert set(found.valid.labels) == set(range(classes)), "test examples leave a class without validation examples"
    assert_same(found.train.ids, np.arange(len(found.train)), "training ids beside test examples")
    assert found.fingerprint != dataset.fingerprint, "test examples do not change the fingerprint"
    again = loaded.load(evaluation=held_out)
    assert again.fingerprint == found.fingerprint, "test examples are other ones when it is loaded again"
    subset = choose_subset(found, parse_strategy("half-classes:1.0" if classes > 3 else "random:0.5"), 0)
    assert subset.test is not None, "a subset of it has no test examples"
    assert set(subset.test.labels) == set(subset.valid.labels) == set(subset.classes), "a subset is judged by others"


@contract.promise
def hashes_are_of_the_pixels(loaded: _Loaded) -> None:
    for images in loaded.images:
        for i in range(0, len(images), 7):
            same = images.reduced[i] or digest_of(images.image(i)).hex() == images.content_hashes[i]
            assert same, f"the content hash of example {images.ids[i]} is not that of its pixels"


@contract.promise
def how_it_is_trained_on_is_decided(loaded: _Loaded) -> None:
    if not loaded.images:
        return
    shown, channels = loaded.dataset.preprocessing, loaded.images[0].channels
    assert shown.crop in CROPS, f"its crop {shown.crop!r} is none of {', '.join(CROPS)}"
    assert shown.image_size >= 8, f"its image_size is {shown.image_size}"
    assert len(shown.mean) == len(shown.std) == channels, "it has no mean and std of each channel"
    assert all(0 <= value <= 1 for value in shown.mean), f"its mean is {shown.mean}"
    assert all(value > 0 for value in shown.std), f"its std is {shown.std}"


@contract.promise
def loading_it_again_gives_the_same(loaded: _Loaded) -> None:
    again, dataset = loaded.load(), loaded.dataset
    assert_same(again.train.content_hashes, dataset.train.content_hashes, "training examples, loaded again")
    assert again.fingerprint == dataset.fingerprint, "its fingerprint is another one when it is loaded again"


@contract.promise
def the_size_that_it_is_trained_at_changes_how_it_is_stored_and_not_what_it_is(loaded: _Loaded) -> None:
    dataset, large = loaded.dataset, loaded.load(image_size=512)
    for name in ("fingerprint", "preprocessing"):
        found, other = getattr(dataset, name), getattr(large, name)
        assert found == other, f"its {name} is {found}, and {other} where it is trained on at 512 px"
    for images in loaded.images:
        assert (images.sizes.min(axis=1) <= stored_side(None)).all(), "an image is stored larger than is needed"
        reduced = images.native_sizes.min(axis=1) > stored_side(None)
        assert_same(images.reduced, reduced, "images that are stored smaller than they are")


@contract.promise
def its_description_counts_the_validation_examples_of_a_class(loaded: _Loaded) -> None:
    most, line = np.bincount(loaded.dataset.valid.labels).max(), describe(loaded.dataset)[0]
    assert f"{most} " in line.rpartition(";")[2], f"{most} validation examples of a class are not in: {line}"


@contract.promise
def a_part_of_it_is_a_data_set(loaded: _Loaded) -> None:
    dataset, n = loaded.dataset, len(loaded.dataset.class_names) + 1
    part = loaded.load(f"@{n}")
    assert len(part.train) == n, f"{loaded.name}@{n} has {len(part.train)} training examples"
    assert fingerprint(part.valid) == fingerprint(dataset.valid), "a part of it has other validation examples"
    assert part.fingerprint != dataset.fingerprint, "a part of it has the same fingerprint"


@contract.promise
def a_subset_of_it_travels_without_it(loaded: _Loaded) -> None:
    subset = choose_subset(loaded.dataset, parse_strategy("random:0.5"), 0)
    with tempfile.TemporaryDirectory(prefix="proxyflow-") as folder:
        write_subset(subset, Path(folder))
        found = read_subset(Path(folder))
        assert found.fingerprint == subset.fingerprint, "a subset that is written and read has another fingerprint"
        kept, original = found.preprocessing, loaded.dataset.preprocessing
        assert kept == original, f"a subset that is written and read has {kept} instead of {original}"
