"""Labelled images in memory, identified by their content so that no order or path matters."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size with their labels.

    Attributes:
        images: `(n, height, width, channels) uint8`, 1 channel (grey) or 3 (RGB).
        labels: `(n,) int64`, index into the data set's class names.
        example_ids: `(n,) int64`, position in the data set's own order.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    example_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.images)
        assert self.images.ndim == 4, "images are (n, h, w, c)"
        assert self.images.dtype == np.uint8, "pixels are bytes"
        assert self.labels.shape == self.example_ids.shape == (n,), "one label and id per image"

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def content_hashes(self) -> NDArray[np.str_]:
        """`(n,)` SHA-256 of each image's shape and pixels, in hexadecimal."""
        shape = repr(self.images.shape[1:]).encode()
        return np.array([hashlib.sha256(shape + image.tobytes()).hexdigest() for image in self.images], dtype="U64")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels that does not depend on the order of the examples."""
        rows = sorted(f"{content} {label}" for content, label in zip(self.content_hashes, self.labels, strict=True))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def take(self, positions: NDArray[np.int64] | NDArray[np.bool_]) -> ImageSet:
        """The examples at `positions` (indices or a mask), in that order."""
        return ImageSet(self.images[positions], self.labels[positions], self.example_ids[positions])


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A `(height, width, 1 or 3) uint8` image as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_image(data: bytes, channels: int) -> NDArray[np.uint8]:
    """An encoded image as `(height, width, channels) uint8`."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)
