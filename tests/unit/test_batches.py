"""Batches: what a run's random streams decide, and that they decide nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxyflow.data.batches import DeviceImages, TrainBatches, ValidBatches
from proxyflow.data.catalog import load_dataset
from proxyflow.data.images import ImageSet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> DeviceImages:
    digits = load_dataset("digits")
    few = digits.train.take(np.arange(100))
    return DeviceImages.load(few, tuple(range(10)), 16, digits.mean, digits.std, CPU)


def by_example(batches: TrainBatches) -> dict[int, torch.Tensor]:
    return {int(i): x for xs, _ in batches for i, x in zip(batches.index, xs, strict=True)}


def test_an_example_looks_the_same_whatever_the_batch_size(images: DeviceImages) -> None:
    small, large = (by_example(TrainBatches(images, size, 0.5, seed=3)) for size in (10, 50))
    assert set(small) == set(large) == set(range(100))
    assert all(torch.equal(small[i], large[i]) for i in small)


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.25, 0.2, 0.3), (1.0, 1, 1)])
def test_flips_come_with_their_probability(images: DeviceImages, probability: float, low: float, high: float) -> None:
    batches = TrainBatches(images, 100, probability, seed=0)
    flipped = 0
    for _ in range(20):
        for i, x in by_example(batches).items():
            plain = images.batch(torch.tensor([i]))[0]
            assert torch.equal(x, plain) or torch.equal(x, plain.flip(2))
            flipped += not torch.equal(x, plain)
    assert low <= flipped / 2000 <= high


def test_epochs_differ_and_seeds_repeat_them(images: DeviceImages) -> None:
    first, again = TrainBatches(images, 10, 0.5, seed=0), TrainBatches(images, 10, 0.5, seed=0)
    orders = [list(by_example(first)) for _ in range(2)]
    assert orders[0] != orders[1]
    assert orders == [list(by_example(again)) for _ in range(2)]


def test_augmentation_and_order_are_streams_of_their_own(images: DeviceImages) -> None:
    without, with_flips = (TrainBatches(images, 10, p, seed=0) for p in (0.0, 0.5))
    assert list(by_example(without)) == list(by_example(with_flips))


def test_an_incomplete_batch_is_left_out_and_a_small_set_is_one_batch(images: DeviceImages) -> None:
    assert len(TrainBatches(images, 64, 0.5, seed=0)) == 1
    assert len(TrainBatches(images, 1000, 0.5, seed=0)) == 1
    assert [len(y) for _, y in TrainBatches(images, 1000, 0.5, seed=0)] == [100]


def test_grey_is_repeated_and_normalised(images: DeviceImages) -> None:
    x = images.batch(torch.arange(100))
    assert x.shape == (100, 3, 16, 16)
    assert torch.equal(x[:, 0], x[:, 2])
    assert abs(float(x.mean())) < 0.2


def test_validation_covers_everything_once_in_order() -> None:
    digits = load_dataset("digits")
    valid = DeviceImages.load(digits.valid, tuple(range(10)), 8, digits.mean, digits.std, CPU)
    labels = torch.cat([y for _, y in ValidBatches(valid)])
    assert torch.equal(labels, torch.from_numpy(digits.valid.labels))


def test_labels_are_counted_within_the_trained_classes() -> None:
    pixels = np.zeros((3, 4, 4, 1), dtype=np.uint8)
    some = ImageSet(pixels, np.array([7, 3, 9]), np.arange(3))
    loaded = DeviceImages.load(some, (3, 7, 9), 4, (0.5,), (0.5,), CPU)
    assert loaded.labels.tolist() == [1, 0, 2]
