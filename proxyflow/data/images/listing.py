"""What a source of images finds: a listing of what is there, before anything is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import UNPRINTABLE
from proxyflow.data.images.decode import Header, decode_image, highest_level, read_header
from proxyflow.data.images.origin import Origin


@dataclass(frozen=True, eq=False)
class Listing:
    """The examples of a source.

    Attributes:
        class_names: one per label, in label order.
        labels: `(n,) int64`.
        is_valid: `(n,) bool`, or None where the source has no validation set and one is split off.
        header: size and kind of the image at a position, see `decode.read_header`.
        decode: pixels of the image at a position with so many channels, its 16-bit levels taken as having so many
            bits: `(height, width, channels) uint8`.
        highest_level: of the image at a position, where its header says that it is deep.
        files: file of each image relative to `root`; empty where there is no file per image.
        by_content: training order is by label and content, as the order of files is arbitrary.
        origin: what a table says of each image; None where no table names them.
    """

    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    is_valid: NDArray[np.bool_] | None
    header: Callable[[int], Header]
    decode: Callable[[int, int, int], NDArray[np.uint8]]
    highest_level: Callable[[int], int] = lambda position: 255
    files: tuple[str, ...] = ()
    root: Path | None = None
    by_content: bool = False
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def of_arrays(
        class_names: Sequence[str],
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        is_valid: NDArray[np.bool_] | None = None,
    ) -> Listing:
        """Of decoded images of one size, `(n, height, width, channels) uint8`."""
        size = (images.shape[1], images.shape[2])
        header = Header(size, grey=images.shape[3] == 1)
        return Listing(
            tuple(class_names),
            labels,
            is_valid,
            lambda position: header,
            lambda position, channels, depth: images[position],
        )

    @staticmethod
    def of_files(
        class_names: Sequence[str],
        root: Path,
        files: Sequence[str],
        labels: NDArray[np.int64],
        is_valid: NDArray[np.bool_] | None,
        origin: Origin | None = None,
    ) -> Listing:
        """Of image files below a folder."""
        return Listing(
            tuple(class_names),
            labels,
            is_valid,
            lambda position: read_header(root / files[position]),
            lambda position, channels, depth: decode_image(root / files[position], channels, depth=depth),
            lambda position: highest_level(root / files[position]),
            tuple(files),
            root,
            by_content=True,
            origin=origin,
        )


@dataclass(frozen=True)
class Found:
    """A data set that was found and can be read.

    Attributes:
        signature: changes whenever the content may have changed (names, sizes and times of the files).
        listing: reads which examples there are.
        image_size: side in pixels at which it is trained on by default; None: by the sizes of its images.
        crop: how training images are cropped, see `augment.CROPS`; None: by the sizes of its images.
        layout: how its files are read, for people; empty where there is one way only.
        notes: what was not read, for people.
        own_split: it has a validation split; else one is split off.
        valid_examples: how many of it are used by default; None: by the number of training examples.
    """

    signature: str
    listing: Callable[[], Listing]
    image_size: int | None = None
    crop: str | None = None
    layout: str = ""
    notes: tuple[str, ...] = ()
    own_split: bool = True
    valid_examples: int | None = None


def files_signature(root: Path, files: Sequence[str]) -> str:
    """SHA-256 over names below `root`, sizes and modification times."""
    lines = []
    for name in files:
        try:
            stat = (root / name).stat()
            lines.append(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}")
        except OSError as error:  # a broken link; decoding reports it
            lines.append(f"{name}\0{error.errno}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def as_text(name: str) -> str:
    """A name from the file system, which may hold any bytes, as text that messages, tags and JSON can hold."""
    return UNPRINTABLE.sub("\ufffd", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
