"""What synthetic images look like: a sheet with a row per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from proxyflow.files import replacing

MAX_CLASSES, MAX_PER_CLASS, GAP = 20, 20, 2
# Small images are enlarged to about so many pixels.
TILE = 64


def sheet(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """`(rows, columns, 1 or 3) uint8`: the first images of the first classes, white in between.

    Args:
        pixels: `(n, size, size, channels)`.
    """
    classes = np.unique(labels)[:MAX_CLASSES]
    by_class = [pixels[labels == label][:MAX_PER_CLASS] for label in classes]
    size, channels = pixels.shape[1], pixels.shape[3]
    times = max(1, TILE // size)
    step = size * times + GAP
    made = np.full((len(classes) * step - GAP, max(map(len, by_class)) * step - GAP, channels), 255, dtype=np.uint8)
    for row, images in enumerate(by_class):
        for column, image in enumerate(images):
            tile = image.repeat(times, axis=0).repeat(times, axis=1)
            made[row * step : row * step + size * times, column * step : column * step + size * times] = tile
    return made


def draw_sheet(pixels: NDArray[np.uint8], labels: NDArray[np.int64], path: Path) -> None:
    """Writes a sheet as PNG."""
    made = sheet(pixels, labels)
    with replacing(path) as beside:
        Image.fromarray(made[:, :, 0] if made.shape[2] == 1 else made).save(beside)
