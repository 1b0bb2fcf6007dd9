"""What a source of images is: it finds files or arrays, which are decoded once and cached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from proxyflow.data.images.assemble import Assembled, assemble
from proxyflow.data.images.cache import locked, open_or_build
from proxyflow.data.images.listing import Found
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.reduce import stored_side
from proxyflow.data.images.store import ImageSet
from proxyflow.data.options import DataOptions
from proxyflow.data.protocol import Contents, Say

# Images of at most this short side, all of one size, are padded and cropped like CIFAR-10's.
SMALL_SIDE = 48
# Others are trained on at this size, or less where they are smaller.
DEFAULT_SIZE = 128


class ImageSource(ABC):
    """Where a data set of images comes from.

    Attributes:
        description: what it is, for people.
        takes_path: its name is followed by a colon and a path.
        cached: decoding it takes long enough to keep the result on disk.
    """

    description: str
    takes_path: ClassVar[bool] = False
    cached: ClassVar[bool] = True

    def canonical_path(self, path: str) -> str:
        """See `protocol.Source`; sources without a path have nothing to check."""
        return path

    @abstractmethod
    def find(self, path: str, data_dir: Path) -> Found:
        """Finds the images, downloading them where that is possible.

        Args:
            path: what follows the colon, empty without `takes_path`.
            data_dir: where downloads are kept.

        Raises:
            UserError: they are missing or wrong; the message names the file or folder and what would be accepted.
        """

    def load(self, name: str, path: str, options: DataOptions, say: Say) -> Contents:
        """Finds and decodes the images, see `protocol.Source`."""
        side = stored_side(options.image_size)
        if self.cached:
            with locked(options.cache, name, say) as problem:
                found = self.find(path, options.folder)
                assembled = open_or_build(name, found, options.cache, options.skip_bad, side, say, problem)
        else:
            found = self.find(path, options.folder)
            assembled = assemble(
                name, found.listing(), options.skip_bad, side, lambda n: np.empty(n, dtype=np.uint8), show=False
            )
        return _contents(found, assembled)


def _contents(found: Found, assembled: Assembled) -> Contents:
    store, n_train = assembled.store, assembled.n_train
    everything = ImageSet.whole(store, assembled.labels)
    # Ids count within the training order, the order that every score table uses.
    train, valid = (
        part.with_ids(np.arange(len(part), dtype=np.int64))
        for part in (everything.take(np.arange(n_train)), everything.take(np.arange(n_train, len(store))))
    )
    crop, image_size = _default_view(train)
    return Contents(
        assembled.class_names,
        train if found.own_split else everything,
        valid if found.own_split else None,
        Preprocessing(
            found.image_size or image_size,
            found.crop or crop,
            assembled.mean,
            assembled.std,
            assembled.stored_side,
        ),
        found.valid_examples,
        assembled.skipped,
        found.layout,
        (*found.notes, *assembled.notes),
    )


def _default_view(train: ImageSet) -> tuple[str, int]:
    """How images are cropped by default, and the size at which they are trained on."""
    short = train.sizes.min(axis=1)
    if len(np.unique(train.sizes, axis=0)) == 1 and short[0] <= SMALL_SIDE:
        return "padded", max(32, -(-int(short[0]) // 8) * 8)
    return "resized", int(np.clip(np.median(short) // 32 * 32, 32, DEFAULT_SIZE))
