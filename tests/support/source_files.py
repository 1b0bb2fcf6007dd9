"""Files of the formats that downloadable data sets come in, made small: the same format, other pictures."""

from __future__ import annotations

import gzip
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from picture_files import make_folder
from table_files import made_up_frame
from table_files import write as write_table

from proxyflow.data.images.sources import cifar10, fashion_mnist, imagenette


def write_idx(path: Path, array: np.ndarray) -> None:
    """An IDX file of bytes, as LeCun's page defines it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def make_fashion_mnist(folder: Path, train: int = 100, valid: int = 20, suffix: str = ".gz") -> None:
    rng = np.random.default_rng(0)
    for name, n in (("train", train), ("t10k", valid)):
        write_idx(folder / f"{name}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (n, 28, 28)))
        write_idx(folder / f"{name}-labels-idx1-ubyte{suffix}", np.arange(n) % 10)


def make_cifar10(data_dir: Path, per_batch: int = 20) -> None:
    rng = np.random.default_rng(0)
    folder = data_dir / cifar10.FOLDER
    folder.mkdir(parents=True)
    for name in (*cifar10.TRAIN, cifar10.TEST):
        records = rng.integers(0, 256, (per_batch, cifar10.RECORD), dtype=np.uint8)
        records[:, 0] = np.arange(per_batch) % 10
        (folder / name).write_bytes(records.tobytes())
    archive(folder, data_dir / cifar10.ARCHIVE)


def archive(folder: Path, path: Path) -> None:
    """Packs a folder and takes it away."""
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()


def make_imagenette(name: str, data_dir: Path) -> None:
    from proxyflow.data.catalog import datasets

    source = datasets[name]
    assert isinstance(source, imagenette.Imagenette)
    make_folder(data_dir / source.folder, tuple(source.classes), train=3, valid=1, suffix=".JPEG")
    archive(data_dir / source.folder, data_dir / f"{source.folder}.tgz")


def published_md5(path: Path) -> str:
    """What the archives made here are taken for: their real counterparts."""
    from proxyflow.data.catalog import datasets

    known = {f"{s.folder}.tgz": s.md5 or "" for s in datasets.values() if isinstance(s, imagenette.Imagenette)}
    return {**known, cifar10.ARCHIVE: cifar10.MD5}[path.name]


# How each data set of the catalog is put into a data directory; it returns the name to load.
MAKE: dict[str, Callable[[Path], str]] = {
    "digits": lambda data_dir: "digits",
    "fashion-mnist": lambda data_dir: (make_fashion_mnist(data_dir / "fashion-mnist"), "fashion-mnist")[1],
    "cifar10": lambda data_dir: (make_cifar10(data_dir), "cifar10")[1],
    **{
        name: lambda data_dir, name=name: (make_imagenette(name, data_dir), name)[1]  # type: ignore[misc]
        for name in ("imagenette", "imagewoof", "imagenette2", "imagewoof2")
    },
    "folder": lambda data_dir: f"folder:{make_folder(data_dir / 'pets')}",
    "index": lambda data_dir: f"index:{write_table(made_up_frame(), data_dir / 'list.csv')}",
    "table": lambda data_dir: f"table:{write_table(made_up_frame(), data_dir / 'reviews.parquet')}[text=text]",
}

__all__ = [
    "MAKE",
    "archive",
    "fashion_mnist",
    "make_cifar10",
    "make_fashion_mnist",
    "make_imagenette",
    "published_md5",
    "write_idx",
]
