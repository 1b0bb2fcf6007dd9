"""CIFAR-10 from its binary files, because those of the Python version are pickles."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from proxyflow.core.errors import UserError
from proxyflow.data.images.listing import Found, Listing, files_signature
from proxyflow.data.images.sources.base import ImageSource
from proxyflow.data.images.sources.download import download, extract, missing
from proxyflow.data.protocol import datasets

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # published on the data set's page
FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
TRAIN, TEST = [f"data_batch_{number}.bin" for number in range(1, 6)], "test_batch.bin"
RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue planes


class Cifar10(ImageSource):
    """CIFAR-10 (Krizhevsky 2009)."""

    description = "50,000 colour pictures of 32 x 32 pixels in 10 classes"

    def find(self, path: str, data_dir: Path) -> Found:
        folder, archive = data_dir / FOLDER, data_dir / ARCHIVE
        if not folder.is_dir():
            try:
                download(URL, archive, MD5)
            except OSError as error:
                hint = f"put {ARCHIVE} (the binary version), or its folder {FOLDER}, into {data_dir}"
                raise missing("cifar10", data_dir, error, hint) from None
            extract(archive, folder, MD5)
        names = [*TRAIN, TEST]
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise UserError(f"{folder} lacks {', '.join(absent)}; delete the folder and unpack {ARCHIVE} again")
        return Found(files_signature(folder, names), partial(_list, folder, names), image_size=32, crop="padded")


def _list(folder: Path, names: list[str]) -> Listing:
    records = []
    for name in names:
        data = np.fromfile(folder / name, dtype=np.uint8)
        if not len(data) or len(data) % RECORD or data[::RECORD].max() >= len(CLASSES):
            raise UserError(f"{folder / name} is not made of CIFAR-10's records of {RECORD:,} bytes; unpack it again")
        records.append(data.reshape(-1, RECORD))
    everything = np.concatenate(records)
    images = everything[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy()
    is_valid = np.arange(len(everything)) >= len(everything) - len(records[-1])
    return Listing.of_arrays(CLASSES, images, everything[:, 0].astype(np.int64), is_valid)


datasets.add("cifar10", Cifar10())
