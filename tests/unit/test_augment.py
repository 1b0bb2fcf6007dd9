"""Augmentation has fastai's distribution, and depends on seed, epoch and example alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from proxyflow.data.images.augment import RATIO, augment_params, padding_of, uniforms

N = 20_000


def boxes(height: int, width: int, n: int = N, seed: int = 0, size: int = 128) -> np.ndarray:
    sizes = np.tile(np.array([height, width], dtype=np.int32), (n, 1))
    return augment_params("resized", seed, 0, np.arange(n), sizes, size, 0.5).boxes


def fastai_boxes(height: int, width: int, n: int = N) -> np.ndarray:
    from fastai.vision.augment import RandomResizedCrop

    crop = RandomResizedCrop(128, min_scale=0.35)
    image = Image.new("RGB", (width, height))
    random.seed(0)
    found = []
    for _ in range(n):
        crop.before_call(image, split_idx=0)
        found.append((crop.tl[1], crop.tl[0], crop.cp_size[1], crop.cp_size[0]))
    return np.array(found)


@pytest.mark.parametrize(("height", "width"), [(160, 160), (160, 213), (240, 160), (160, 400), (500, 160), (33, 47)])
def test_crops_have_the_distribution_of_fastai(height: int, width: int) -> None:
    ours, theirs = boxes(height, width), fastai_boxes(height, width)
    for measure in (
        lambda b: b[:, 2] * b[:, 3],  # area
        lambda b: b[:, 3] / b[:, 2],  # ratio
        lambda b: b[:, 0],
        lambda b: b[:, 1],
    ):
        # Two samples of 20,000 from one distribution differ by more than .0195 in one test of a thousand.
        assert stats.ks_2samp(measure(ours), measure(theirs)).statistic < 0.0195


@pytest.mark.parametrize(("height", "width"), [(160, 213), (1, 1), (3, 200), (128, 5)])
def test_crops_lie_in_their_image(height: int, width: int) -> None:
    top, left, tall, wide = boxes(height, width, 2000).T
    assert (tall >= 1).all()
    assert (wide >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= height).all()
    assert (left + wide <= width).all()


def test_an_image_that_no_crop_fits_shows_its_centre() -> None:
    # Ten tries at a ratio of 3/4 to 4/3 with 35 % of the area cannot fit where the image is 20 times as wide as high.
    assert np.unique(boxes(10, 200, 100), axis=0).tolist() == [[0, 93, 10, int(10 * RATIO[1])]]
    assert np.unique(boxes(200, 10, 100), axis=0).tolist() == [[93, 0, int(10 / RATIO[0]), 10]]


@pytest.mark.parametrize("crop", ["padded", "resized"])
def test_an_example_draws_the_same_alone_and_among_others(crop: str) -> None:
    sizes = np.random.default_rng(0).integers(20, 90, (50, 2)).astype(np.int32)
    ids = np.random.default_rng(1).permutation(1000)[:50]
    everything = augment_params(crop, 3, 5, ids, sizes, 32, 0.5)
    for i in (0, 17, 49):
        one = augment_params(crop, 3, 5, ids[i : i + 1], sizes[i : i + 1], 32, 0.5)
        assert np.array_equal(one.boxes[0], everything.boxes[i])
        assert one.flips[0] == everything.flips[i]


@pytest.mark.parametrize("crop", ["padded", "resized"])
@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}])
def test_seeds_and_epochs_draw_anew(crop: str, change: dict[str, int]) -> None:
    sizes = np.full((1000, 2), 60, dtype=np.int32)

    def draw(seed: int = 0, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
        found = augment_params(crop, seed, epoch, np.arange(1000), sizes, 32, 0.5)
        return found.boxes, found.flips

    (boxes, flips), (others, other_flips) = draw(), draw(**change)
    assert 0.4 < (flips == other_flips).mean() < 0.6
    assert (boxes == others).all(axis=1).mean() < 0.1


def test_padded_crops_are_spread_evenly_over_all_places() -> None:
    sizes = np.full((N, 2), 28, dtype=np.int32)
    found = augment_params("padded", 0, 0, np.arange(N), sizes, 32, 0.5).boxes
    assert (found[:, 2:] == 32).all()
    counts = np.zeros((9, 9))
    np.add.at(counts, (found[:, 0], found[:, 1]), 1)
    assert padding_of(32) == 4
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 1.0])
def test_flips_have_their_probability(probability: float) -> None:
    flips = augment_params("padded", 0, 0, np.arange(N), np.full((N, 2), 8, dtype=np.int32), 8, probability).flips
    assert abs(flips.mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / N) + 1e-12


def test_draws_are_uniform_and_unrelated_between_examples_draws_and_seeds() -> None:
    table = uniforms(7, np.arange(N), 8)
    assert table.min() >= 0
    assert table.max() < 1
    for column in table.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    limit = 4.5 / np.sqrt(N)
    between = np.corrcoef(np.column_stack([table, uniforms(8, np.arange(N), 8)]).T) - np.eye(16)
    assert np.abs(between).max() < limit
    for lag in (1, 2, 16, 64):
        assert abs(np.corrcoef(table[:-lag, 0], table[lag:, 0])[0, 1]) < limit


def mixed(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_draws_are_the_same_on_every_machine() -> None:
    # The definition once more in whole numbers: other values mean that no logged training can be repeated.
    golden, seed = 0x9E3779B97F4A7C15, 2**62 + 11
    ids = [0, 1, 10**9]
    for row, example in zip(uniforms(seed, np.array(ids), 3), ids, strict=True):
        stream = mixed((seed + mixed((example * golden + golden) % 2**64)) % 2**64)
        assert row.tolist() == [(mixed((stream + k * golden) % 2**64) >> 11) / 2**53 for k in (1, 2, 3)]
