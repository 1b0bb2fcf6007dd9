"""Labeled images, decoded and identified by their content so that neither order nor path matters."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue, UserError, printable
from proxyflow.core.platform import open_to_read, read_into
from proxyflow.data.content import DIGEST_BYTES, hexadecimal
from proxyflow.data.images.decode import BadImage, decode_image, encode_png
from proxyflow.data.images.levels import FULL
from proxyflow.data.images.origin import Origin
from proxyflow.data.protocol import Examples, Positions


class OpenFile:
    """A file that any thread may read at any position, closed when it is no longer referenced."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_to_read(path)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, begin: int, n_bytes: int) -> NDArray[np.uint8]:
        """`(n_bytes,)` bytes from a place.

        Raises:
            OSError: the file ends before.
        """
        found = np.empty(n_bytes, dtype=np.uint8)
        done = 0
        while done < n_bytes:
            count = read_into(self._descriptor, found.data[done:], begin + done)
            if not count:
                raise OSError("the file of decoded images was truncated while it was used")
            done += count
        return found


def digest_of(image: NDArray[np.uint8]) -> bytes:
    """SHA-256 of an image's shape and pixels, its identity wherever it came from."""
    found = hashlib.sha256(repr(image.shape).encode())
    found.update(np.ascontiguousarray(image).data)
    return found.digest()


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Decoded images of any sizes, concatenated in one flat buffer.

    Every subset of a data set is an index into the same store.

    Attributes:
        pixels: `(bytes,) uint8`; an image is its `height * width * channels` bytes in row order. In memory, or a memory
            map of a file (see `cache`), which processes share.
        offsets: `(n,) int64`, where each image begins in `pixels`.
        sizes: `(n, 2) int32`, height and width of each image as it is stored.
        channels: 1 (grey) or 3 (RGB), the same for all.
        digests: `(n, 32) uint8`, `digest_of` each image at its native size, however it is stored.
        native_sizes: `(n, 2) int32`, height and width of each image before it was reduced.
        files: the file of each image relative to `root`; empty where the source has no file per image.
        file: the file that `pixels` is a map of.
        depth: bits that 16-bit files use, see `levels`.
        origin: what a table says of each image; None where no table names them.
    """

    pixels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]
    channels: int
    digests: NDArray[np.uint8]
    native_sizes: NDArray[np.int32]
    files: tuple[str, ...] = ()
    root: Path | None = None
    file: OpenFile | None = None
    depth: int = FULL
    origin: Origin | None = None

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
        # Touching a page of a memory map also maps its neighbours: a process that reads a scattered tenth of the images
        # would hold nearly all of them. A read holds only what it reads, from the same page cache.
        found = self.file.read(begin, n_bytes) if self.file else self.pixels[begin : begin + n_bytes]
        return found.reshape(height, width, self.channels)

    def take(self, rows: NDArray[np.int64]) -> ImageStore:
        """A store of some of the images in another order, over the same pixels."""
        return dataclasses.replace(
            self,
            offsets=self.offsets[rows],
            sizes=self.sizes[rows],
            digests=self.digests[rows],
            native_sizes=self.native_sizes[rows],
            files=tuple(self.files[row] for row in rows) if self.files else (),
            origin=None if self.origin is None else self.origin.take(rows),
        )

    @property
    def longest_short_side(self) -> int:
        """The longest of the short sides of all images before they were reduced."""
        return int(self.native_sizes.min(axis=1).max(initial=0))

    @property
    def reduced(self) -> NDArray[np.bool_]:
        """`(n,)`, which images are stored smaller than they are."""
        return np.asarray((self.sizes != self.native_sizes).any(axis=1))

    def encoded(self, row: int) -> tuple[bytes, str]:
        """An image's file: the original bytes where it came from a file that is unchanged, else a PNG.

        Returns:
            the bytes, and the suffix of their format.

        Raises:
            UserError: the file has changed, and the image is stored smaller than it was.
        """
        if self.root is not None and self.files:
            path = self.root / self.files[row]
            try:
                data = path.read_bytes()
                if digest_of(decode_image(data, self.channels, depth=self.depth)) == self.digests[row].tobytes():
                    return data, path.suffix.lower()
            except (OSError, BadImage):
                pass  # the file was removed or changed since
        if (self.sizes[row] != self.native_sizes[row]).any():  # `reduced` of all images, per image, would be quadratic
            what = printable(str(self.root / self.files[row])) if self.root and self.files else f"image {row}"
            raise UserError(
                f"{what} was changed or removed since it was decoded, and only a smaller copy of it is here; put it "
                "back, or run the command again to decode the data set again"
            )
        return encode_png(self.image(row)), ".png"


def offsets_of(sizes: NDArray[np.int32], channels: int) -> NDArray[np.int64]:
    """`(n,)` where each image begins in a concatenated buffer."""
    lengths = sizes.astype(np.int64).prod(axis=1) * channels
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(sizes) else np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Some of a store's images with their labels.

    Attributes:
        store: where the pixels are.
        rows: `(n,) int64`, which of the store's images these are.
        labels: `(n,) int64`, index into the data set's class names.
        ids: `(n,) int64`, position in the data set's own order.
    """

    store: ImageStore = field(repr=False)
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]

    modality: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        assert self.rows.shape == self.labels.shape == self.ids.shape, "one label and id per image"

    @staticmethod
    def of(
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        labels: NDArray[np.int64],
        ids: NDArray[np.int64],
    ) -> ImageSet:
        """A set with a store of its own."""
        return dataclasses.replace(ImageSet.whole(ImageStore.of(images), labels), ids=ids)

    @staticmethod
    def whole(store: ImageStore, labels: NDArray[np.int64]) -> ImageSet:
        """All images of a store in its order, with their positions as ids."""
        rows = np.arange(len(store), dtype=np.int64)
        return ImageSet(store, rows, labels, rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return self.store.channels

    @property
    def sizes(self) -> NDArray[np.int32]:
        """`(n, 2)` height and width of each image as it is stored."""
        return self.store.sizes[self.rows]

    @property
    def native_sizes(self) -> NDArray[np.int32]:
        """`(n, 2)` height and width of each image before it was reduced."""
        return self.store.native_sizes[self.rows]

    @property
    def reduced(self) -> NDArray[np.bool_]:
        """`(n,)`, which images are stored smaller than they are."""
        return self.store.reduced[self.rows]

    def image(self, position: int) -> NDArray[np.uint8]:
        """`(height, width, channels)`, a view of the store."""
        return self.store.image(int(self.rows[position]))

    @property
    def images(self) -> NDArray[np.uint8]:
        """`(n, height, width, channels)`, a copy; for sets whose images all have one size."""
        return np.stack([self.image(position) for position in range(len(self))])

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """`(n,)` the group of each image; None without groups."""
        origin = self.store.origin
        return None if origin is None or origin.groups is None else origin.groups[self.rows]

    @property
    def digests(self) -> NDArray[np.uint8]:
        """`(n, 32)` SHA-256 of each image's shape and pixels."""
        return self.store.digests[self.rows]

    @cached_property
    def content_hashes(self) -> NDArray[np.str_]:
        """`(n,)` the digests in hexadecimal."""
        return hexadecimal(self.digests)

    def take(self, positions: Positions) -> ImageSet:
        """The examples at `positions` (indices or a mask), in that order."""
        return ImageSet(self.store, self.rows[positions], self.labels[positions], self.ids[positions])

    def with_ids(self, ids: NDArray[np.int64]) -> ImageSet:
        """The same images under other ids."""
        return dataclasses.replace(self, ids=ids)


def images_of(examples: Examples) -> ImageSet:
    """Examples as images.

    Raises:
        InvalidValue: they are of another modality.
    """
    if not isinstance(examples, ImageSet):
        rule = "this takes images; use a data set of images, or a trainer and strategies that take any data"
        raise InvalidValue("modality", examples.modality, rule)
    return examples
