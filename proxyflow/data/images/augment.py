"""Crop boxes and flips of augmentation: pure numbers, keyed by (seed, epoch, example).

Because an example's draws depend on nothing else, the batch size, the subset it is in, its position and the device
do not change what it looks like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.seeds import stream_seed

CROPS = {
    "resized": "a random part of 35 to 100 % of the area, brought to the training size (fastai's RandomResizedCrop)",
    "padded": "the image moved by up to an eighth of its side, black where nothing is left (He et al. 2016)",
}

# Of the published script (fastai's train_imagenette): RandomResizedCrop(size, min_scale=.35).
SCALE = (0.35, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AugmentParams:
    """Crop and flip of each example in one epoch.

    Attributes:
        boxes: `(n, 4) int64`: top, left, height and width of the part that is shown; of `padded` crops top and left
            count in the padded image.
        flips: `(n,) bool`, mirrored left to right.
    """

    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]


def uniforms(seed: int, ids: NDArray[np.int64], draws: int) -> Floats:
    """`(n, draws)` random numbers in [0, 1) that depend on the seed and each example's id alone.

    A counter-based generator: draw k of an example is SplitMix64's mixing function (Steele, Lea & Flood 2014,
    *Fast splittable pseudorandom number generators*, figure 16) of the seed, the id and k.
    """
    with np.errstate(over="ignore"):
        streams = _mix(np.uint64(seed) + _mix(ids.astype(np.uint64) * GOLDEN + GOLDEN))
        counters = np.arange(1, draws + 1, dtype=np.uint64) * GOLDEN
        mixed = _mix(streams[:, None] + counters[None, :])
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def padding_of(image_size: int) -> int:
    """Pixels that `padded` crops add on each side: 4 at 32."""
    return image_size // 8


def augment_params(
    crop: str,
    seed: int,
    epoch: int,
    ids: NDArray[np.int64],
    sizes: NDArray[np.int32],
    image_size: int,
    flip_probability: float,
) -> AugmentParams:
    """Crop and flip of every example in one epoch.

    Args:
        crop: one of `CROPS`.
        seed: the run's.
        sizes: `(n, 2)` native heights and widths.
        image_size: side at which they are trained on.
    """
    flips = uniforms(stream_seed(seed, "augment", "flip", epoch), ids, 1)[:, 0] < flip_probability
    crops = stream_seed(seed, "augment", "crop", epoch)
    if crop == "padded":
        places = uniforms(crops, ids, 2) * (2 * padding_of(image_size) + 1)
        sides = np.full((len(ids), 2), image_size, dtype=np.int64)
        return AugmentParams(np.concatenate([places.astype(np.int64), sides], axis=1), flips)
    # Few images need the later tries, so each try draws for those that are left.
    return AugmentParams(_resized_boxes(crops, ids, sizes.astype(np.int64)), flips)


def _resized_boxes(seed: int, ids: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(n, 4)` boxes as fastai's RandomResizedCrop draws them: ten tries, then the centre."""
    boxes = _centre_boxes(sizes)
    left = np.arange(len(sizes))
    for attempt in range(TRIES):
        if not len(left):
            break
        area_draw, ratio_draw, top_draw, left_draw = uniforms(stream_seed(seed, "try", attempt), ids[left], 4).T
        heights, widths = sizes[left].T
        area = (SCALE[0] + (SCALE[1] - SCALE[0]) * area_draw) * heights * widths
        low, high = (math.log(bound) for bound in RATIO)
        ratio = np.exp(low + (high - low) * ratio_draw)
        width, height = (np.rint(np.sqrt(value)).astype(np.int64) for value in (area * ratio, area / ratio))
        width, height = np.maximum(width, 1), np.maximum(height, 1)
        fits = (width <= widths) & (height <= heights)
        top = (top_draw * (heights - height + 1)).astype(np.int64)
        begin = (left_draw * (widths - width + 1)).astype(np.int64)
        boxes[left[fits]] = np.stack([top, begin, height, width], axis=1)[fits]
        left = left[~fits]
    return boxes


def _centre_boxes(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The largest centred box of an allowed ratio."""
    heights, widths = sizes.T
    ratio = widths / heights
    width = np.where(ratio > RATIO[1], (heights * RATIO[1]).astype(np.int64), widths)
    height = np.where(ratio < RATIO[0], (widths / RATIO[0]).astype(np.int64), heights)
    width, height = np.maximum(width, 1), np.maximum(height, 1)
    return np.stack([(heights - height) // 2, (widths - width) // 2, height, width], axis=1)
