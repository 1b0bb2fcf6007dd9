"""How a subset keeps images in Parquet: encoded, in the columns that Hugging Face's `datasets` reads as images."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import PIL
import pyarrow as pa
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.platform import total_memory
from proxyflow.core.settings import Choice, Rule
from proxyflow.core.validation import Fields, Items, Numeric, Text
from proxyflow.data.content import DIGEST_BYTES
from proxyflow.data.images.augment import CROPS
from proxyflow.data.images.decode import BadImage, decode_image
from proxyflow.data.images.levels import FULL
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.reduce import reduce, reduced_sizes, stored_side
from proxyflow.data.images.store import ImageSet, ImageStore, digest_of, images_of
from proxyflow.data.options import DataOptions
from proxyflow.data.protocol import Examples

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
MEMORY_SHARE = 0.4  # of this machine's that decoded images may take, as they are copied into one buffer in the end


RULES: Mapping[str, Rule] = {
    "channels": Choice(("1", "3")),
    "image_size": Numeric(low=8, high=2048, whole=True),
    "crop": Choice(tuple(CROPS)),
    "mean": Items(Numeric(low=0, high=1), fewest=1, most=3),
    "std": Items(Numeric(low=0, high=1, above=True), fewest=1, most=3),
    "pillow": Text(100),
    "depth": Numeric(low=8, high=16, whole=True),
    "longest_short_side": Numeric(low=1, whole=True),
}
OPTIONAL = frozenset({"pillow", "depth", "longest_short_side"})


@dataclass(frozen=True)
class ImageCodec:
    """Images as their original files' bytes, or as PNG.

    Attributes:
        channels: 1 or 3.
        image_size, crop, mean, std: as of `Preprocessing`.
        pillow: version of Pillow that decoded the images.
        depth: bits that 16-bit files use, see `levels`.
        longest_short_side: of the validation images before they were reduced; 0 where it is not known.
    """

    channels: int
    image_size: int
    crop: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pillow: str = "unknown"
    depth: int = FULL
    longest_short_side: int = 0

    schema: ClassVar[pa.Schema] = pa.schema([("image", IMAGE)])
    leaves: ClassVar[Sequence[str]] = ("image.bytes",)
    features: ClassVar[Mapping[str, Any]] = {"image": {"_type": "Image"}}
    rows_together: ClassVar[int] = 100

    @staticmethod
    def of(train: ImageSet, valid: ImageSet, preprocessing: Preprocessing) -> ImageCodec:
        """That of a subset."""
        return ImageCodec(
            train.store.channels,
            preprocessing.image_size,
            preprocessing.crop,
            preprocessing.mean,
            preprocessing.std,
            PIL.__version__,
            train.store.depth,
            valid.store.longest_short_side,
        )

    @staticmethod
    def from_manifest(manifest: Mapping[str, Any]) -> ImageCodec:
        """See `Modality.codec_from`."""
        entries = Fields(RULES, optional=OPTIONAL).parse("", manifest)
        codec = ImageCodec(**{**entries, "channels": int(entries["channels"])})
        for name in ("mean", "std"):
            if len(entries[name]) != codec.channels:
                raise InvalidValue(name, list(entries[name]), f"it must have a value per channel, {codec.channels}")
        return codec

    @property
    def entries(self) -> dict[str, Any]:
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def columns(self, part: str, examples: Examples, rows: slice) -> dict[str, pa.Array]:
        images, encoded = images_of(examples), []
        for row, example_id in zip(images.rows[rows], images.ids[rows], strict=True):
            data, suffix = images.store.encoded(int(row))
            encoded.append({"bytes": data, "path": f"{part}-{example_id}{suffix}"})
        return {"image": pa.array(encoded, type=IMAGE)}

    def reader(self, options: DataOptions) -> ImageReader:
        return ImageReader(self.channels, self.depth, self._stored_side(options))

    def preprocessing(self, valid: Examples, options: DataOptions) -> Preprocessing:
        side = self._stored_side(options)
        # By the data set that it is a part of, so that a training has one key wherever its images came from.
        longest = max(self.longest_short_side, images_of(valid).store.longest_short_side)
        stored = side if longest > side else None
        return Preprocessing(self.image_size, self.crop, self.mean, self.std, stored)

    @property
    def written_by(self) -> str:
        # Original files are decoded again here, and decoders differ by a level now and then.
        return f"read it with the Pillow that it was made with ({self.pillow}; here it is {PIL.__version__})"

    def _stored_side(self, options: DataOptions) -> int:
        return stored_side(max(options.image_size or 0, self.image_size))


class ImageReader:
    """Decodes the images of a subset's parts.

    Args:
        depth: bits that 16-bit files use, see `levels`.
        side: images with a longer short side are reduced to it.
    """

    def __init__(self, channels: int, depth: int, side: int) -> None:
        self.channels, self.depth, self.side = channels, depth, side
        self.room = int(MEMORY_SHARE * total_memory())
        self.images: list[NDArray[np.uint8]] = []
        self.digests: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata; what matters is whether there are pixels.
            warnings.simplefilter("ignore")
            for data in batch["image"].field("bytes"):
                self._decode(data.as_py())

    def _decode(self, data: bytes | None) -> None:
        place = f"image {len(self.images)}"
        if data is None:
            raise ValueError(f"{place} is null")
        try:
            image = decode_image(data, self.channels, self.room // self.channels, self.depth)
        except BadImage as error:
            raise ValueError(f"{place} cannot be used: {error}") from None
        size = image.shape[0], image.shape[1]
        height, width = reduced_sizes(np.array([size], dtype=np.int32), self.side)[0].tolist()
        self.digests.append(digest_of(image))
        self.sizes.append(size)
        stored = reduce(image, (height, width))
        self.room -= stored.nbytes
        self.images.append(stored)

    def examples(self, labels: NDArray[np.int64], ids: NDArray[np.int64]) -> ImageSet:
        """The images as they are known by their content at native size."""
        store = dataclasses.replace(
            ImageStore.of(self.images),
            digests=np.frombuffer(b"".join(self.digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES),
            native_sizes=np.array(self.sizes, dtype=np.int32).reshape(-1, 2),
            depth=self.depth,
        )
        self.images, self.digests, self.sizes = [], [], []
        return ImageSet.whole(store, labels).with_ids(ids)
