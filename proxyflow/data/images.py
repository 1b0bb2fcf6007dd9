"""Labelled images, decoded and identified by their content so that no order or path matters."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.decode import BadImage, decode_image, encode_png

DIGEST_BYTES = 32


class OpenFile:
    """A file that any thread may read anywhere, closed when nobody needs it any more."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, begin: int, n_bytes: int) -> NDArray[np.uint8]:
        """`(n_bytes,)` bytes from a place.

        Raises:
            OSError: the file ends before.
        """
        found = np.empty(n_bytes, dtype=np.uint8)
        done = 0
        while done < n_bytes:
            count = os.preadv(self._descriptor, [found[done:]], begin + done)  # type: ignore[list-item]
            if not count:
                raise OSError("the file of decoded images was cut short while it was used")
            done += count
        return found


def digest_of(image: NDArray[np.uint8]) -> bytes:
    """SHA-256 of an image's shape and pixels: what it is known by, wherever it came from."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Decoded images of any sizes, one behind the other in one flat buffer.

    Every subset of a data set is an index into the same store.

    Attributes:
        pixels: `(bytes,) uint8`; an image is its `height * width * channels` bytes in row order. In memory, or a memory
            map of a file (see `cache`), which processes share.
        offsets: `(n,) int64`, where each image begins in `pixels`.
        sizes: `(n, 2) int32`, height and width of each image as it is stored, which is its native size.
        channels: 1 (grey) or 3 (RGB), the same for all.
        digests: `(n, 32) uint8`, see `digest_of`.
        original_sizes: `(n, 2) int32`, height and width as the file states them, before its EXIF rotation.
        files: the file of each image relative to `root`; empty where the source has no file per image.
        file: the file that `pixels` is a map of.
    """

    pixels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]
    channels: int
    digests: NDArray[np.uint8]
    original_sizes: NDArray[np.int32]
    files: tuple[str, ...] = ()
    root: Path | None = None
    file: OpenFile | None = None

    @staticmethod
    def of(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> ImageStore:
        """A store in memory of `(height, width, channels) uint8` images."""
        assert len(images) == 0 or images[0].ndim == 3, "an image is (h, w, c)"
        assert all(image.dtype == np.uint8 for image in images), "pixels are bytes"
        channels = images[0].shape[2] if len(images) else 1
        sizes = np.array([image.shape[:2] for image in images], dtype=np.int32).reshape(-1, 2)
        pixels = (
            np.ascontiguousarray(images).reshape(-1)
            if isinstance(images, np.ndarray)
            else np.concatenate([image.reshape(-1) for image in images] or [np.empty(0, dtype=np.uint8)])
        )
        digests = np.frombuffer(b"".join(map(digest_of, images)), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        return ImageStore(pixels, offsets_of(sizes, channels), sizes, channels, digests, sizes)

    def __len__(self) -> int:
        return len(self.offsets)

    def image(self, row: int) -> NDArray[np.uint8]:
        """`(height, width, channels)`; what belongs to the store must not be written to."""
        return self.lines(row, 0, int(self.sizes[row, 0]))

    def lines(self, row: int, top: int, height: int) -> NDArray[np.uint8]:
        """`(height, width, channels)`: the lines of an image from `top` on."""
        width = int(self.sizes[row, 1])
        begin, n_bytes = int(self.offsets[row]) + top * width * self.channels, height * width * self.channels
        # Touching a page of a map maps its neighbours, too: a process that reads a tenth of the images, here and there,
        # would come to hold nearly all of them. A read holds what it reads, and takes it from the same cache.
        found = self.file.read(begin, n_bytes) if self.file else self.pixels[begin : begin + n_bytes]
        return found.reshape(height, width, self.channels)

    def take(self, rows: NDArray[np.int64]) -> ImageStore:
        """A store of some of the images in another order, over the same pixels."""
        return dataclasses.replace(
            self,
            offsets=self.offsets[rows],
            sizes=self.sizes[rows],
            digests=self.digests[rows],
            original_sizes=self.original_sizes[rows],
            files=tuple(self.files[row] for row in rows) if self.files else (),
        )

    def encoded(self, row: int) -> tuple[bytes, str]:
        """An image's file: the original bytes where it came from a file that is unchanged, else a PNG.

        Returns:
            the bytes, and the suffix of their format.
        """
        if self.root is not None and self.files:
            path = self.root / self.files[row]
            try:
                data = path.read_bytes()
                if digest_of(decode_image(data, self.channels)) == self.digests[row].tobytes():
                    return data, path.suffix.lower()
            except (OSError, BadImage):
                pass  # the file went away or was changed since; its pixels are still here
        return encode_png(self.image(row)), ".png"


def hexadecimal(digests: NDArray[np.uint8]) -> NDArray[np.str_]:
    """`(n,)` digests as text."""
    text = digests.tobytes().hex().encode()
    return np.frombuffer(text, dtype=f"S{2 * DIGEST_BYTES}").astype(f"U{2 * DIGEST_BYTES}")


def offsets_of(sizes: NDArray[np.int32], channels: int) -> NDArray[np.int64]:
    """`(n,)` where each image begins when all lie one behind the other."""
    lengths = sizes.astype(np.int64).prod(axis=1) * channels
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(sizes) else np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Some of a store's images with their labels.

    Attributes:
        store: where the pixels are.
        rows: `(n,) int64`, which of the store's images these are.
        labels: `(n,) int64`, index into the data set's class names.
        example_ids: `(n,) int64`, position in the data set's own order.
    """

    store: ImageStore = field(repr=False)
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    example_ids: NDArray[np.int64]

    @property
    def by_content(self) -> NDArray[np.int64]:
        """`(n,)` positions in an order that depends on the examples' content alone, whatever that of the files."""
        return np.lexsort((self.example_ids, self.labels, self.content_hashes))

    def __post_init__(self) -> None:
        assert self.rows.shape == self.labels.shape == self.example_ids.shape, "one label and id per image"

    @staticmethod
    def of(
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        labels: NDArray[np.int64],
        example_ids: NDArray[np.int64],
    ) -> ImageSet:
        """A set with a store of its own."""
        return ImageSet(ImageStore.of(images), np.arange(len(images), dtype=np.int64), labels, example_ids)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return self.store.channels

    @property
    def sizes(self) -> NDArray[np.int32]:
        """`(n, 2)` height and width of each image."""
        return self.store.sizes[self.rows]

    def image(self, position: int) -> NDArray[np.uint8]:
        """`(height, width, channels)`, a view of the store."""
        return self.store.image(int(self.rows[position]))

    @property
    def images(self) -> NDArray[np.uint8]:
        """`(n, height, width, channels)`, a copy; for sets whose images all have one size."""
        return np.stack([self.image(position) for position in range(len(self))])

    @cached_property
    def content_hashes(self) -> NDArray[np.str_]:
        """`(n,)` SHA-256 of each image's shape and pixels, in hexadecimal."""
        return hexadecimal(self.store.digests[self.rows])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels that does not depend on the order of the examples."""
        rows = sorted(f"{content} {label}" for content, label in zip(self.content_hashes, self.labels, strict=True))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def take(self, positions: NDArray[np.int64] | NDArray[np.bool_]) -> ImageSet:
        """The examples at `positions` (indices or a mask), in that order."""
        return ImageSet(self.store, self.rows[positions], self.labels[positions], self.example_ids[positions])
