"""Files of 16 bits are seldom full: what counts is how many bits a whole data set uses."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from proxyflow.data.catalog import DataOptions, Dataset, describe, load_dataset
from proxyflow.data.images.levels import DEPTHS, depth_of, to_bytes
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset


@given(st.integers(0, 65535))
def test_a_depth_holds_the_level_and_none_below_does(level: int) -> None:
    depth = depth_of(level)
    assert level < 2**depth
    assert all(level >= 2**other for other in DEPTHS if other < depth)


@pytest.mark.parametrize("depth", DEPTHS)
def test_levels_become_bytes_in_order(depth: int) -> None:
    levels = np.arange(2**depth, dtype=np.uint16)
    found = to_bytes(levels, depth, inverted=False)
    assert (np.diff(found.astype(int)) >= 0).all()
    assert np.array_equal(np.unique(found), np.arange(256))
    assert np.array_equal(to_bytes(levels, depth, inverted=True), found[::-1])
    assert to_bytes(np.array([65535], dtype=np.uint16), depth, inverted=False)[0] == 255, "never wraps around"


def levels_of(seed: int, top: int, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top + 1, size).astype(np.uint16)


def make(root: Path, top: int, suffix: str = ".png", per_class: int = 6) -> Path:
    for label, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            levels = levels_of(100 * label + i, top)
            levels[0, 0] = top
            Image.fromarray(levels).save(root / name / f"{i}{suffix}")
    return root


def load(root: Path) -> Dataset:
    return load_dataset(f"folder:{root}", DataOptions(root.parent / "data"), lambda text: None)


def brightest(dataset: Dataset) -> int:
    sets = (dataset.train, dataset.valid)
    return max(int(images.image(i).max()) for images in sets for i in range(len(images)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("top", "depth"), [(1023, 10), (4095, 12), (3000, 12), (16383, 14), (30000, 16), (65535, 16)])
def test_the_bits_in_use_become_eight(tmp_path: Path, suffix: str, top: int, depth: int) -> None:
    dataset = load(make(tmp_path / "scans", top, suffix))
    assert dataset.train.store.depth == depth
    assert brightest(dataset) == top >> (depth - 8)
    assert any(f"use {depth} bits" in line for line in describe(dataset)) == (depth < 16)
    assert load(tmp_path / "scans").train.store.depth == depth, "from the cache as well"


def test_brightness_means_the_same_in_every_file(tmp_path: Path) -> None:
    root = make(tmp_path / "scans", 4095)
    dark = levels_of(7, 60)
    Image.fromarray(dark).save(root / "ant" / "dark.png")
    dataset = load(root)
    sets = (dataset.train, dataset.valid)
    darkest = min((images.image(i) for images in sets for i in range(len(images))), key=np.max)
    assert np.array_equal(darkest[:, :, 0], dark >> 4), "and is not stretched to noise"


def test_a_data_set_of_dark_images_alone_keeps_its_levels(tmp_path: Path) -> None:
    dataset = load(make(tmp_path / "scans", 40))
    assert dataset.train.store.depth == 8
    assert brightest(dataset) == 40


def test_images_of_8_bits_are_left_as_they_are(tmp_path: Path) -> None:
    root = make(tmp_path / "scans", 4095)
    plain = levels_of(9, 255).astype(np.uint8)
    Image.fromarray(plain).save(root / "ant" / "plain.png")
    dataset = load(root)
    sets = (dataset.train, dataset.valid)
    assert any(np.array_equal(images.image(i)[:, :, 0], plain) for images in sets for i in range(len(images)))


def test_a_subset_carries_the_files_and_how_they_are_read(tmp_path: Path) -> None:
    dataset = load(make(tmp_path / "scans", 4095))
    subset = choose_subset(dataset, parse_strategy("random:0.5"), 0)
    write_subset(subset, tmp_path / "subset")
    found = read_subset(tmp_path / "subset")
    assert found.fingerprint == subset.fingerprint
    assert np.array_equal(found.train.images, subset.train.images)
    data, suffix = subset.train.store.encoded(int(subset.train.rows[0]))
    assert suffix == ".png"
    assert any(path.read_bytes() == data for path in (tmp_path / "scans").rglob("*.png"))


def png_of_16_bit_colours(levels: np.ndarray) -> bytes:
    """Pillow writes none; `levels` is `(height, width, 3) uint16`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = levels.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in levels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("top", "warned"), [(4095, True), (65535, False)])
def test_colours_of_which_the_upper_bits_are_empty_are_warned_of(tmp_path: Path, top: int, warned: bool) -> None:
    root = tmp_path / "scans"
    for label, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for i in range(4):
            levels = np.random.default_rng(10 * label + i).integers(0, top + 1, (20, 30, 3))
            levels[0, 0] = top
            (root / name / f"{i}.png").write_bytes(png_of_16_bit_colours(levels))
    dataset = load(root)
    assert dataset.train.channels == 3
    assert any(line.startswith("warning") for line in describe(dataset)) is warned
