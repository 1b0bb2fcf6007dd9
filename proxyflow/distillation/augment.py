"""Differentiable siamese augmentation (Zhao & Bilen 2021): one random transform for real and synthetic images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Published strengths of each kind.
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
SCALE, DEGREES, SHIFT, CUTOUT, FLIPPED = 1.2, 15.0, 0.125, 0.5, 0.5


@dataclass(frozen=True)
class Augmentation:
    """One augmentation.

    Attributes:
        kind: key of `KINDS`; empty for none.
        numbers: uniform random numbers in [0, 1) that set its strength.
    """

    kind: str
    numbers: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Applies the same transform to all images `(n, channels, size, size)`."""
        return KINDS[self.kind](images, self.numbers) if self.kind else images


def draw_augmentation(kinds: Sequence[str], rng: np.random.Generator) -> Augmentation:
    """Draws one of the kinds with its strength; no augmentation if there are no kinds."""
    if not kinds:
        return Augmentation("", ())
    kind = kinds[int(rng.integers(len(kinds)))]
    return Augmentation(kind, tuple(rng.random(3).tolist()))


def _color(x: Tensor, numbers: Sequence[float]) -> Tensor:
    brightness, saturation, contrast = numbers
    x = x + (brightness - 0.5) * BRIGHTNESS
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (saturation * SATURATION) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + CONTRAST) + mean


def _crop(x: Tensor, numbers: Sequence[float]) -> Tensor:
    size = x.shape[-1]
    padding = int(size * SHIFT + 0.5)
    down, right = (int(number * (2 * padding + 1)) for number in numbers[:2])
    return F.pad(x, (padding,) * 4)[:, :, down : down + size, right : right + size]


def _cutout(x: Tensor, numbers: Sequence[float]) -> Tensor:
    size = x.shape[-1]
    hole = int(size * CUTOUT + 0.5)
    mask = torch.ones(size, size, dtype=x.dtype, device=x.device)
    rows, columns = (
        slice(max(0, centre - hole // 2), max(0, centre - hole // 2 + hole))
        for centre in (int(number * (size + 1 - hole % 2)) for number in numbers[:2])
    )
    mask[rows, columns] = 0
    return x * mask


def _flip(x: Tensor, numbers: Sequence[float]) -> Tensor:
    return x.flip(3) if numbers[0] < FLIPPED else x


def _scale(x: Tensor, numbers: Sequence[float]) -> Tensor:
    across, down = (number * (SCALE - 1 / SCALE) + 1 / SCALE for number in numbers[:2])
    return _resampled(x, [[across, 0.0, 0.0], [0.0, down, 0.0]])


def _rotate(x: Tensor, numbers: Sequence[float]) -> Tensor:
    angle = (numbers[0] - 0.5) * 2 * math.radians(DEGREES)
    sine, cosine = math.sin(angle), math.cos(angle)
    return _resampled(x, [[cosine, -sine, 0.0], [sine, cosine, 0.0]])


def _resampled(x: Tensor, matrix: list[list[float]]) -> Tensor:
    theta = torch.tensor(matrix, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


KINDS: dict[str, Callable[[Tensor, Sequence[float]], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
