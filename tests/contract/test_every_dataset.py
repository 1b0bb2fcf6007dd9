"""What every data set of the catalog promises, whatever its source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from source_files import MAKE, published_md5

from proxyflow.data.augment import CROPS
from proxyflow.data.catalog import DataOptions, Dataset, load_dataset, spelling
from proxyflow.data.images import digest_of
from proxyflow.data.sources import datasets, download
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset


@pytest.fixture(params=list(datasets), scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, DataOptions]]:
    data_dir = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "md5_of", published_md5)
        yield MAKE[request.param](data_dir), DataOptions(data_dir)


@pytest.fixture(scope="module")
def dataset(made: tuple[str, DataOptions]) -> Dataset:
    return load_dataset(*made, lambda text: None)


def test_it_says_what_it_is(made: tuple[str, DataOptions]) -> None:
    kind = made[0].partition(":")[0]
    assert datasets[kind].description.strip()
    assert spelling(kind, datasets[kind]).startswith(kind)


def test_its_name_and_classes_are_kept(dataset: Dataset, made: tuple[str, DataOptions]) -> None:
    assert dataset.name == made[0]
    assert len(set(dataset.class_names)) == len(dataset.class_names) >= 2
    for images in (dataset.train, dataset.valid):
        assert set(images.labels) == set(range(len(dataset.class_names)))


def test_training_ids_count_the_training_order(dataset: Dataset) -> None:
    assert dataset.train.example_ids.tolist() == list(range(len(dataset.train)))


def test_validation_is_balanced_and_shares_nothing_with_training(dataset: Dataset) -> None:
    counts = np.bincount(dataset.valid.labels)
    assert len(dataset.valid) <= 500
    assert counts.max() - counts.min() <= 1
    assert not set(dataset.train.content_hashes) & set(dataset.valid.content_hashes)


def test_hashes_are_of_the_pixels(dataset: Dataset) -> None:
    for images in (dataset.train, dataset.valid):
        for i in range(0, len(images), 7):
            assert digest_of(images.image(i)).hex() == images.content_hashes[i]


def test_the_view_is_decided(dataset: Dataset) -> None:
    assert dataset.crop in CROPS
    assert dataset.image_size >= 8
    assert len(dataset.mean) == len(dataset.std) == dataset.train.channels
    assert all(0 <= value <= 1 for value in dataset.mean)
    assert all(value > 0 for value in dataset.std)


def test_loading_it_again_gives_the_same(dataset: Dataset, made: tuple[str, DataOptions]) -> None:
    again = load_dataset(*made, lambda text: None)
    assert again.fingerprint == dataset.fingerprint
    assert again.train.content_hashes.tolist() == dataset.train.content_hashes.tolist()


def test_a_part_of_it_is_a_data_set(dataset: Dataset, made: tuple[str, DataOptions]) -> None:
    n = len(dataset.class_names) + 1
    part = load_dataset(f"{made[0]}@{n}", made[1], lambda text: None)
    assert len(part.train) == n
    assert part.valid.fingerprint == dataset.valid.fingerprint
    assert part.fingerprint != dataset.fingerprint


def test_a_subset_of_it_travels_without_it(dataset: Dataset, tmp_path: Path) -> None:
    subset = choose_subset(dataset, parse_strategy("random:0.5"), 0)
    write_subset(subset, tmp_path)
    found = read_subset(tmp_path)
    assert found.fingerprint == subset.fingerprint
    assert (found.crop, found.image_size, found.mean, found.std) == (
        dataset.crop,
        dataset.image_size,
        dataset.mean,
        dataset.std,
    )
