"""Fashion-MNIST from its four IDX files: downloaded, put there by hand, or Debian's package in place."""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import UserError
from proxyflow.data.images.listing import Found, Listing, files_signature
from proxyflow.data.images.sources.base import ImageSource
from proxyflow.data.images.sources.download import download, missing
from proxyflow.data.protocol import datasets

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
# The MD5 sums that torchvision publishes for them.
FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
# Debian's package dataset-fashion-mnist.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


class FashionMnist(ImageSource):
    """Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747)."""

    description = "60,000 grey pictures of clothes of 28 x 28 pixels in 10 classes (trained on at 32 px)"

    def find(self, path: str, data_dir: Path) -> Found:
        folder, names = self.locate(data_dir)
        return Found(files_signature(folder, names), partial(_list, folder, names), image_size=32, crop="padded")

    @staticmethod
    def locate(data_dir: Path) -> tuple[Path, list[str]]:
        """The folder with its files, and their names as in `FILES`; downloads them where there are none."""
        own = data_dir / "fashion-mnist"
        for folder in (own, data_dir / "FashionMNIST" / "raw", DEBIAN):
            for names in (list(FILES), [name.removesuffix(".gz") for name in FILES]):
                if all((folder / name).is_file() for name in names):
                    return folder, names
        try:
            for name, md5 in FILES.items():
                download(f"{URL}/{name}", own / name, md5)
        except OSError as error:
            hint = f"put {', '.join(FILES)} into {own}, or install Debian's package dataset-fashion-mnist"
            raise missing("fashion-mnist", data_dir, error, hint) from None
        return own, list(FILES)


def _list(folder: Path, names: list[str]) -> Listing:
    arrays = [read_idx(folder / name) for name in names]
    for images, labels, name in ((arrays[0], arrays[1], names[0]), (arrays[2], arrays[3], names[2])):
        if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) >= len(CLASSES):
            raise UserError(f"{folder / name} and its labels are not those of fashion-mnist; download them again")
    pixels = np.concatenate([arrays[0], arrays[2]])[..., np.newaxis]
    all_labels = np.concatenate([arrays[1], arrays[3]]).astype(np.int64)
    return Listing.of_arrays(CLASSES, pixels, all_labels, np.arange(len(all_labels)) >= len(arrays[1]))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an IDX file of bytes (LeCun's MNIST format), gzipped or not.

    Raises:
        UserError: it is truncated or no such file.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None
    # Two zeros, the type (8 is unsigned byte), the number of dimensions, then each as a big-endian integer.
    dimensions = data[3] if len(data) > 3 else 0
    shape = (
        tuple(np.frombuffer(data, dtype=">u4", count=dimensions, offset=4)) if len(data) >= 4 + 4 * dimensions else ()
    )
    if data[:3] != b"\0\0\x08" or not shape or len(data) != 4 + 4 * dimensions + int(np.prod(shape, dtype=np.int64)):
        raise UserError(f"{path} is not a complete IDX file of bytes; download it again")
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * dimensions).reshape([int(side) for side in shape])


datasets.add("fashion-mnist", FashionMnist())
