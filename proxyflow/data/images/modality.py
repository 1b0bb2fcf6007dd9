"""What images are to code for data of any kind: how a data set of them is described, and kept in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.description import counted
from proxyflow.data.images.files import CLASS_FOLDERS, write_class_folders
from proxyflow.data.images.listing import as_text
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.store import images_of
from proxyflow.data.modality import Modality, Part, modalities
from proxyflow.data.protocol import Dataset, Examples

if TYPE_CHECKING:
    from proxyflow.data.images.artifact import ImageCodec


class Images(Modality):
    """Grey or RGB images."""

    noun = "image"

    def codec_of(self, train: Examples, valid: Examples, preprocessing: Preprocessing) -> ImageCodec:
        # Delayed for start-up time: it takes pyarrow.
        from proxyflow.data.images.artifact import ImageCodec

        return ImageCodec.of(images_of(train), images_of(valid), preprocessing)

    def codec_from(self, manifest: Mapping[str, Any]) -> ImageCodec:
        from proxyflow.data.images.artifact import ImageCodec

        return ImageCodec.from_manifest(manifest)

    def summary(self, dataset: Dataset) -> str:
        sets = [images_of(examples) for examples in (dataset.train, *dataset.held_out.values())]
        sizes = np.concatenate([images.native_sizes for images in sets])
        low, high = sizes.min(axis=0), sizes.max(axis=0)
        size = f"{low[1]} x {low[0]}" if np.array_equal(low, high) else f"{low[1]} x {low[0]} to {high[1]} x {high[0]}"
        reduced = sum(int(images.reduced.sum()) for images in sets)
        stored = dataset.preprocessing.stored_side
        kept = f", {reduced:,} of them kept with a short side of {stored}" if reduced else ""
        return f" of {size} pixels{kept}, {'grey' if sets[0].channels == 1 else 'RGB'}"

    def warnings(self, dataset: Dataset) -> list[str]:
        train, preprocessing = images_of(dataset.train), dataset.preprocessing
        small = train.sizes.min(axis=1) < preprocessing.image_size
        if preprocessing.crop != "resized" or not small.any():
            return []
        least = int(train.sizes.min(axis=1).argmin())
        height, width = train.sizes[least]
        file = f"{train.store.files[int(train.rows[least])]}, " if train.store.files else ""
        return [
            f"warning: in {dataset.name} {counted(int(small.sum()), 'training image')} smaller than its "
            f"image_size={preprocessing.image_size} and enlarged to it (the smallest: {file}{width} x {height})"
        ]

    def identifiers(self, examples: Examples) -> NDArray[Any]:
        images = images_of(examples)
        origin = images.store.origin
        if origin is None:
            return images.ids
        return (origin.positions if origin.identifiers is None else origin.identifiers)[images.rows]

    def positions(self, examples: Examples) -> NDArray[np.int64]:
        images = images_of(examples)
        return images.rows if images.store.origin is None else images.store.origin.positions[images.rows]

    def name_of(self, examples: Examples, position: int) -> str:
        images = images_of(examples)
        if not images.store.files:
            return super().name_of(examples, position)
        return as_text(f"image {images.store.files[int(images.rows[position])]}")

    def write_files(self, part: Part, examples: Examples, class_names: Sequence[str], folder: Path) -> Path:
        return write_class_folders(images_of(examples), class_names, folder / CLASS_FOLDERS[part])


modalities.add("images", Images())
