"""Large images are stored smaller, and are the same images: same fingerprint, same files, whatever their stored size."""

from __future__ import annotations

import dataclasses
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_training import CPU
from picture_files import make_folder, save
from PIL import Image

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.data.catalog import DataOptions, Dataset, describe, load_dataset
from proxyflow.data.images import cache
from proxyflow.data.images.batches import DeviceImages
from proxyflow.data.images.decode import decode_image
from proxyflow.data.images.reduce import SMALLEST_TRAINED, reduce, reduced_sizes, stored_side
from proxyflow.data.images.store import digest_of
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset
from proxyflow.trainers import ImageTrainer

SIDE = stored_side(None)
LARGE = (300, 400)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two large pictures among small ones."""
    root = make_folder(tmp_path / "pets", suffix=".png", size=(100, 120))
    for name in ("ant", "bee"):
        save(root / "train" / name / "large.png", seed=len(name) + ord(name[0]), size=LARGE)
    save(root / "val" / "ant" / "large.png", seed=9, size=LARGE[::-1])
    return root


def load(root: Path, image_size: int | None = None, said: list[str] | None = None) -> Dataset:
    options = DataOptions(root.parent / "data", image_size=image_size)
    return load_dataset(f"folder:{root}", options, (said if said is not None else []).append)


def stores(root: Path) -> list[str]:
    return sorted(path.name for path in (root.parent / "data" / "decoded").iterdir() if path.is_dir())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which data sets were decoded."""
    names: list[str] = []
    whole = cache.assemble
    monkeypatch.setattr(cache, "assemble", lambda name, *args, **options: (names.append(name), whole(name, *args))[1])
    return names


@given(st.integers(8, 2048), st.integers(8, 2048))
def test_a_store_serves_all_smaller_trainings(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert stored_side(small) <= stored_side(large)
    assert stored_side(large) >= 1.15 * large
    assert stored_side(min(small, SMALLEST_TRAINED)) == stored_side(None)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(8, 600))
def test_sizes_are_reduced_in_proportion_and_never_enlarged(height: int, width: int, side: int) -> None:
    (found,) = reduced_sizes(np.array([[height, width]], dtype=np.int32), side).tolist()
    assert min(found) == min(side, height, width)
    if min(height, width) <= side:
        assert found == [height, width]
    else:
        assert abs(max(found) - max(height, width) * side / min(height, width)) <= 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_stored_is_pillows_reduction(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 70, channels), dtype=np.uint8)
    plain = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    expected = np.asarray(plain.resize((35, 45), Image.Resampling.BILINEAR)).reshape(45, 35, channels)
    assert np.array_equal(reduce(image, (45, 35)), expected)
    assert reduce(image, (90, 70)) is image


def test_only_what_is_larger_is_reduced(root: Path) -> None:
    dataset = load(root)
    for images in (dataset.train, dataset.valid):
        for i in range(len(images)):
            path = root / images.store.files[images.rows[i]]
            native = decode_image(path, 3)
            assert digest_of(native).hex() == images.content_hashes[i], "known by its content, not by its storage"
            assert tuple(images.native_sizes[i]) == native.shape[:2]
            assert images.reduced[i] == (path.name == "large.png")
            if images.reduced[i]:
                assert min(images.sizes[i]) == SIDE
                assert np.array_equal(images.image(i), reduce(native, tuple(images.sizes[i].tolist())))
            else:
                assert np.array_equal(images.image(i), native)
    assert dataset.preprocessing.stored_side == SIDE
    assert any(f"3 of them kept with a short side of {SIDE}" in line for line in describe(dataset))


def test_statistics_and_fingerprint_are_those_of_the_whole_images(root: Path) -> None:
    reduced, whole = load(root), load(root, 512)
    assert whole.preprocessing.stored_side is None
    assert reduced.fingerprint == whole.fingerprint
    assert dataclasses.replace(reduced.preprocessing, stored_side=None) == whole.preprocessing
    assert reduced.train.content_hashes.tolist() == whole.train.content_hashes.tolist()


def test_each_stored_size_is_decoded_once(root: Path, decoded: list[str]) -> None:
    for image_size, n_decoded, short in ((None, 1, SIDE), (64, 1, SIDE), (200, 2, 250), (128, 2, SIDE), (200, 2, 250)):
        dataset = load(root, image_size)
        assert len(decoded) == n_decoded
        assert dataset.train.sizes.min(axis=1).max() == short
    assert len(stores(root)) == 2


def test_a_store_of_whole_images_serves_every_larger_size(root: Path, decoded: list[str]) -> None:
    for image_size, n_decoded in ((240, 1), (512, 1), (300, 1), (None, 2), (2048, 2)):
        assert load(root, image_size).preprocessing.stored_side == (None if image_size else SIDE)
        assert len(decoded) == n_decoded


def test_small_images_have_one_store_for_all_sizes(tmp_path: Path, decoded: list[str]) -> None:
    root = make_folder(tmp_path / "pets", size=(SIDE, 2 * SIDE))
    for image_size in (None, 64, 224, 2048):
        assert load(root, image_size).preprocessing.stored_side is None
    assert len(decoded) == 1
    assert len(stores(root)) == 1


def test_when_files_change_no_store_of_the_old_ones_is_left(root: Path) -> None:
    load(root), load(root, 200), load(root, 512)
    assert len(stores(root)) == 3
    save(root / "train" / "ant" / "0.png", seed=500, size=(100, 120))
    said: list[str] = []
    load(root, 200, said)
    assert any("its files have changed" in line for line in said)
    assert len(stores(root)) == 1
    shutil.rmtree(root / "val")
    load(root)
    assert len(stores(root)) == 1


def test_an_altered_store_of_reduced_images_is_noticed(root: Path) -> None:
    before = load(root).fingerprint
    (folder,) = (path for path in (root.parent / "data" / "decoded").iterdir() if path.is_dir())
    with (folder / "pixels.bin").open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    said: list[str] = []
    assert load(root, said=said).fingerprint == before
    assert any("1 of 19 images in pixels.bin were altered" in line for line in said)
    (folder / "verified.json").unlink()
    said.clear()
    load(root, said=said)
    assert not any("decoded again" in line for line in said), "reduced images have hashes of their own"


def test_who_trains_at_a_larger_size_is_told_to_load_for_it(root: Path) -> None:
    def show(dataset: Dataset, image_size: int) -> None:
        DeviceImages(dataset.train, range(10), dataset.preprocessing.at(image_size), CPU)

    show(load(root), 128)
    with pytest.raises(InvalidValue) as caught:
        show(load(root), 200)
    assert (caught.value.name, caught.value.value) == ("image_size", 200)
    show(load(root, 200), 200)


@pytest.mark.parametrize("image_size", [None, 200])
def test_a_subset_travels_with_its_files_and_trains_on_the_same_pixels(
    root: Path, tmp_path: Path, image_size: int | None
) -> None:
    dataset = load(root, image_size)
    subset = choose_subset(dataset, parse_strategy("full"), 0)
    write_subset(subset, tmp_path / "subset")
    found = read_subset(tmp_path / "subset", DataOptions(image_size=image_size))
    assert found.fingerprint == subset.fingerprint
    assert found.preprocessing.stored_side == subset.preprocessing.stored_side
    for here, there in ((subset.train, found.train), (subset.valid, found.valid)):
        assert np.array_equal(here.native_sizes, there.native_sizes)
        for i in range(len(here)):
            assert np.array_equal(here.image(i), there.image(i))
    # Without its large images it still is of a data set that has some.
    small = dataset.train.take(~dataset.train.reduced)
    write_subset(dataclasses.replace(subset, train=small), tmp_path / "small")
    assert (
        read_subset(tmp_path / "small", DataOptions(image_size=image_size)).preprocessing.stored_side
        == subset.preprocessing.stored_side
    )


def test_a_large_image_whose_file_went_away_cannot_travel(root: Path, tmp_path: Path) -> None:
    subset = choose_subset(load(root), parse_strategy("full"), 0)
    (root / "train" / "bee" / "0.png").unlink()
    write_subset(subset, tmp_path / "subset")
    assert read_subset(tmp_path / "subset").fingerprint == subset.fingerprint, "small ones are here as they were"
    (root / "train" / "ant" / "large.png").unlink()
    with pytest.raises(UserError) as caught:
        write_subset(subset, tmp_path / "another")
    assert str(root / "train" / "ant" / "large.png") in str(caught.value)


def test_the_stored_size_is_part_of_a_trainings_key_where_images_are_reduced(root: Path) -> None:
    """Where they are not, keys say nothing of it, and a subset says the same as the data set that it is of."""
    trainer = ImageTrainer(image_size=64, precision="fp32")
    for image_size, side in ((None, {"stored_side": SIDE}), (512, {})):
        dataset = load(root, image_size)
        identity = trainer.identity(dataset, CPU)
        assert identity.items() >= side.items()
        assert ("stored_side" in identity) == bool(side)
        assert trainer.identity(choose_subset(dataset, parse_strategy("full"), 0), CPU) == identity


Usage = namedtuple("Usage", "total used free")


def test_the_cache_is_estimated_before_anything_is_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [(100, 120)] * 16 + [(SIDE, round(400 * SIDE / 300))] * 3
    needed = sum(height * width * 3 for height, width in sizes)

    def decode(*args: object, **options: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: Usage(10**9, 0, needed - 1))
    with monkeypatch.context() as patch:
        patch.setattr("proxyflow.data.images.listing.decode_image", decode)
        with pytest.raises(UserError) as caught:
            load(root)
    assert cache.format_bytes(needed) in str(caught.value)
    assert "PROXYFLOW_CACHE_DIR" in str(caught.value)
    assert not stores(root)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: Usage(10**9, 0, needed))
    said: list[str] = []
    assert len(load(root, said=said).train) == 14
    assert cache.format_bytes(needed) in said[0]


@pytest.mark.parametrize(
    ("n", "text"), [(1, "1 kB"), (96_000, "96 kB"), (2_500_000, "2 MB"), (413e6, "413 MB"), (131e9, "131 GB")]
)
def test_sizes_are_told_in_units_of_their_own(n: float, text: str) -> None:
    assert cache.format_bytes(int(n)) == text
