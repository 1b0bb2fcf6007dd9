"""Image files of every kind that people have, and of every kind that is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def picture(height: int = 40, width: int = 50, seed: int = 0) -> np.ndarray:
    """A smooth colourful image that survives JPEG: `(height, width, 3) uint8`."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def save(path: Path, mode: str = "RGB", seed: int = 0, size: tuple[int, int] = (40, 50), **options: object) -> Path:
    """Writes a picture in a Pillow mode; the suffix decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(*size, seed=seed)).convert(mode).save(path, **options)
    return path


def make_folder(
    root: Path,
    classes: tuple[str, ...] = ("ant", "bee"),
    train: int = 6,
    valid: int = 2,
    size: tuple[int, int] = (40, 50),
    suffix: str = ".jpg",
    seed: int = 0,
) -> Path:
    """`root/train/CLASS` and, with `valid`, `root/val/CLASS`; every picture another one."""
    number = 1000 * seed
    for part, count in (("train", train), ("val", valid)):
        for name in classes:
            for i in range(count):
                number += 1
                save(root / part / name / f"{i}{suffix}", seed=number, size=size)
    return root


def truncated(path: Path) -> Path:
    save(path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def damaged(path: Path) -> Path:
    save(path)
    data = bytearray(path.read_bytes())
    data[20:60] = b"\xff" * 40
    path.write_bytes(data)
    return path


def text(path: Path) -> Path:
    path.write_text("this is no picture")
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def numbers(path: Path) -> Path:
    Image.fromarray(np.zeros((9, 9), dtype=np.float32)).save(path, format="TIFF")
    return path


# Suffix to what makes such a file.
BAD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "truncated": (".jpg", truncated),
    "damaged": (".jpg", damaged),
    "text": (".jpg", text),
    "empty": (".png", empty),
    "32-bit": (".tif", numbers),
}
