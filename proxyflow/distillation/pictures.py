"""Contact sheets of synthetic images, one row per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from proxyflow.core.files import atomic_write

MAX_CLASSES, MAX_PER_CLASS, GAP = 20, 20, 2
# Small images are enlarged to about this many pixels.
TILE = 64


def contact_sheet(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """`(height, width, 1 or 3) uint8`: the first images of the first classes on white.

    Args:
        pixels: `(n, size, size, channels)`.
    """
    classes = np.unique(labels)[:MAX_CLASSES]
    by_class = [pixels[labels == label][:MAX_PER_CLASS] for label in classes]
    size, channels = pixels.shape[1], pixels.shape[3]
    scale = max(1, TILE // size)
    step = size * scale + GAP
    contact_sheet = np.full(
        (len(classes) * step - GAP, max(map(len, by_class)) * step - GAP, channels), 255, dtype=np.uint8
    )
    for row, images in enumerate(by_class):
        for column, image in enumerate(images):
            tile = image.repeat(scale, axis=0).repeat(scale, axis=1)
            contact_sheet[row * step : row * step + size * scale, column * step : column * step + size * scale] = tile
    return contact_sheet


def draw_contact_sheet(pixels: NDArray[np.uint8], labels: NDArray[np.int64], path: Path) -> None:
    """Writes a contact sheet as PNG."""
    sheet = contact_sheet(pixels, labels)
    with atomic_write(path) as temporary:
        Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(temporary)
