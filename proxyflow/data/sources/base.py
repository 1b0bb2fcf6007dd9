"""What a source of images gives: a listing of what is there, before anything is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.decode import Header, decode_image, read_header
from proxyflow.errors import UNPRINTABLE
from proxyflow.registry import Registry


@dataclass(frozen=True, eq=False)
class Listing:
    """The examples of a source.

    Attributes:
        class_names: one per label, in label order.
        labels: `(n,) int64`.
        is_valid: `(n,) bool`, or None where the source has no validation set and one is split off.
        header: size and kind of the image at a position, see `decode.read_header`.
        decode: pixels of the image at a position with so many channels, `(height, width, channels) uint8`.
        files: file of each image relative to `root`; empty where there is no file per image.
        by_content: training order is by label and content, as the order of files means nothing.
    """

    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    is_valid: NDArray[np.bool_] | None
    header: Callable[[int], Header]
    decode: Callable[[int, int], NDArray[np.uint8]]
    files: tuple[str, ...] = ()
    root: Path | None = None
    by_content: bool = False

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
        header = Header(size, size, grey=images.shape[3] == 1)
        return Listing(
            tuple(class_names), labels, is_valid, lambda position: header, lambda position, channels: images[position]
        )

    @staticmethod
    def of_files(
        class_names: Sequence[str],
        root: Path,
        files: Sequence[str],
        labels: NDArray[np.int64],
        is_valid: NDArray[np.bool_] | None,
    ) -> Listing:
        """Of image files below a folder."""
        return Listing(
            tuple(class_names),
            labels,
            is_valid,
            lambda position: read_header(root / files[position]),
            lambda position, channels: decode_image(root / files[position], channels),
            tuple(files),
            root,
            by_content=True,
        )


@dataclass(frozen=True)
class Found:
    """A data set that is there and could be read.

    Attributes:
        signature: changes whenever the content may have changed (names, sizes and times of the files).
        listing: reads which examples there are.
        image_size: side in pixels at which it is trained on by default; None: by the sizes of its images.
        crop: how training images are cropped, see `augment.CROPS`; None: by the sizes of its images.
    """

    signature: str
    listing: Callable[[], Listing]
    image_size: int | None = None
    crop: str | None = None


class Source(Protocol):
    """Where a data set comes from.

    Attributes:
        description: what it is, for people.
        takes_path: its name is followed by a colon and a path.
        cached: decoding it takes long enough to keep the result on disk.
    """

    @property
    def description(self) -> str: ...

    @property
    def takes_path(self) -> bool: ...

    @property
    def cached(self) -> bool: ...

    def find(self, path: str, data_dir: Path) -> Found:
        """Finds the data set, downloading it where that is possible.

        Args:
            path: what follows the colon, empty without `takes_path`.
            data_dir: where downloads are kept.

        Raises:
            UserError: it is not there, or wrong; the message names the file or folder and what would be accepted.
        """
        ...


datasets: Registry[Source] = Registry("dataset")


def files_signature(root: Path, files: Sequence[str]) -> str:
    """SHA-256 over names below `root`, sizes and modification times."""
    lines = []
    for name in files:
        try:
            stat = (root / name).stat()
            lines.append(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}")
        except OSError as error:  # a link to nowhere; decoding will say so
            lines.append(f"{name}\0{error.errno}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def as_text(name: str) -> str:
    """A name from the file system, which may hold any bytes, as text that messages, tags and JSON can hold."""
    return UNPRINTABLE.sub("\ufffd", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
