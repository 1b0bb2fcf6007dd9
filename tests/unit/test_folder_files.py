"""Nothing in a folder is left out without a word, and what systems leave there is no data."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from picture_files import make_folder, picture, save
from PIL import Image

from proxyflow.core.errors import UserError
from proxyflow.data.catalog import DataOptions, Dataset, describe, load_dataset
from proxyflow.data.images import kinds

needs_avif = pytest.mark.skipif(".avif" not in kinds.suffixes(), reason="this Pillow reads no AVIF")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "pets")


def load(root: Path) -> Dataset:
    return load_dataset(f"folder:{root}", DataOptions(root.parent / "data"), lambda text: None)


def not_read(root: Path) -> str:
    """What the description says of files that were not read; empty where nothing."""
    return next((line for line in describe(load(root)) if "not read" in line), "")


def encoded(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, format=form, **options)
    return buffer.getvalue()


def heic() -> bytes:
    """The beginning of a file as telephones write them."""
    return b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHEmiafMiHBheic" + bytes(100)


FORMS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", *(["AVIF"] if ".avif" in kinds.suffixes() else [])]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_without_a_suffix_is_known_by_its_first_bytes(root: Path, form: str) -> None:
    data = encoded(form)
    assert kinds.is_image(data[: kinds.FIRST_BYTES])
    for number, name in enumerate(("n0001", "scan.0002", "cat 2.5 years")):
        other = io.BytesIO()
        Image.fromarray(picture(seed=900 + number)).save(other, format=form)
        (root / "train" / "ant" / name).write_bytes(other.getvalue())
    assert len(load(root).train) == 15
    assert not not_read(root)


@pytest.mark.parametrize(
    "data",
    [b"", b"B", b"BMW and other cars are in this folder", b"P5", b"Parts of it", b"P7\n", b"RIFF....WAVEfmt ", b"{}"],
)
def test_other_files_without_a_suffix_are_counted(root: Path, data: bytes) -> None:
    assert not kinds.is_image(data)
    (root / "train" / "ant" / "README").write_bytes(data)
    assert len(load(root).train) == 12
    assert "1 without a suffix" in not_read(root)


def test_a_pipe_without_a_suffix_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "train" / "ant" / "pipe")
    assert "1 without a suffix" in not_read(root)


@pytest.mark.parametrize("suffix", [".heic", ".HEIC", ".jxl", ".nef", ".psd", ".svg", ".dcm"])
def test_images_that_are_not_read_are_counted_and_warned_of(root: Path, suffix: str) -> None:
    if suffix.lower() in kinds.suffixes():
        pytest.skip("a plug-in reads these here")
    for number in range(100):
        (root / "train" / "bee" / f"{number}{suffix}").write_bytes(heic())
    line = not_read(root)
    assert line.startswith("warning: ")
    assert f"100 {suffix.lower()}" in line
    assert kinds.advice_on(suffix.lower()) in line
    assert len(load(root).train) == 12


def test_a_class_of_such_images_alone_is_refused_with_their_count(root: Path) -> None:
    for part in ("train", "val"):
        (root / part / "cat").mkdir()
        (root / part / "cat" / "1.psd").write_bytes(heic())
    with pytest.raises(UserError) as caught:
        load(root)
    assert str(root / "train" / "cat") in str(caught.value)
    assert "1 .psd" in str(caught.value)


def test_heic_is_read_where_the_plug_in_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_reads_heif", lambda: True)
    for cached in (kinds.formats, kinds.suffixes):
        cached.cache_clear()
    try:
        assert kinds.suffixes() > kinds.HEIF_SUFFIXES
        assert "HEIF" in kinds.formats()
        assert kinds.is_image(heic()[: kinds.FIRST_BYTES])
    finally:
        monkeypatch.undo()
        for cached in (kinds.formats, kinds.suffixes):
            cached.cache_clear()


@needs_avif
def test_avif_is_read(tmp_path: Path) -> None:
    dataset = load(make_folder(tmp_path / "pets", suffix=".avif"))
    assert len(dataset.train) == 12
    assert len(describe(dataset)) == 1


SYSTEM = [
    *((f"{name}/thumb.jpg", name) for name in ("@eaDir", ".thumbnails", "__MACOSX", ".AppleDouble", "#recycle")),
    *((f"@eaDir/0.jpg/{name}", "@eaDir") for name in ("SYNOPHOTO_THUMB_M.jpg", "SYNOPHOTO_THUMB_XL.jpg")),
    *((name, name) for name in ("Thumbs.db", "thumbs.db", "desktop.ini", ".DS_Store", ".hidden.jpg")),
    ("._0.jpg", "._*"),
]


@pytest.mark.parametrize("place", ["", "train", "train/ant", "train/ant/deeper", "val/bee"])
@pytest.mark.parametrize(("path", "key"), SYSTEM)
def test_what_systems_leave_is_ignored_and_counted(root: Path, place: str, path: str, key: str) -> None:
    clean = load(root)
    save(root / "train" / "ant" / "deeper" / "x.jpg", seed=700)
    with_deeper = load(root).fingerprint
    assert with_deeper != clean.fingerprint
    target = root / place / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encoded("JPEG"))
    dataset = load(root)
    assert dataset.fingerprint == with_deeper
    assert dataset.class_names == ("ant", "bee")
    assert f"1 system file (1 {key})" in not_read(root)


def test_all_that_is_not_read_is_told_in_one_line(root: Path) -> None:
    for number in range(3):
        (root / "train" / "ant" / f"{number}.txt").write_text("x")
        (root / "train" / "ant" / f"{number}.psd").write_text("x")
        save(root / "train" / f"{number}.jpg", seed=number)
    save(root / "stray.png")
    save(root / "extra" / "1.jpg")
    (root / "labels.csv").write_text("x")
    (root / "train" / "ant" / "Thumbs.db").write_text("x")
    line = not_read(root)
    for part in ("7 files (", "3 .txt", "3 .psd", "1 .csv", "4 images outside", "extra", "1 Thumbs.db"):
        assert part in line
    assert sum("not read" in each for each in describe(load(root))) == 1


def test_names_that_a_terminal_would_obey_are_not_repeated(root: Path) -> None:
    (root / "train" / "ant" / ".\x1b[2J").write_text("x")
    (root / "train" / "ant" / "x.a\x1b[2J").write_text("x")
    assert "\x1b" not in not_read(root)


# --- which folders are classes ---


def flat(root: Path, names: tuple[str, ...]) -> Path:
    for number, name in enumerate(names):
        for i in range(6):
            save(root / name / f"{i}.jpg", seed=10 * number + i)
    return root


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    dataset = load(flat(tmp_path / "vehicles", ("bus", "car", "train")))
    assert dataset.class_names == ("bus", "car", "train")
    assert len(dataset.train) + len(dataset.valid) == 18
    assert dataset.layout in describe(dataset)[0]
    (tmp_path / "vehicles" / "train" / "steam").mkdir()
    save(tmp_path / "vehicles" / "train" / "steam" / "1.jpg", seed=99)
    assert load(tmp_path / "vehicles").class_names == ("bus", "car", "train"), "images of a class lie at any depth"


def test_the_description_says_how_a_folder_was_read(tmp_path: Path) -> None:
    layouts = {
        "parts": load(make_folder(tmp_path / "parts")),
        "train alone": load(make_folder(tmp_path / "alone", valid=0)),
        "flat": load(flat(tmp_path / "flat", ("ant", "bee"))),
    }
    assert len({dataset.layout for dataset in layouts.values()}) == 3
    for dataset in layouts.values():
        assert f"({dataset.layout})" in describe(dataset)[0]


def test_a_training_part_beside_classes_is_refused_as_it_may_mean_either(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets", valid=0)
    flat(root, ("cat",))
    with pytest.raises(UserError) as caught:
        load(root)
    assert f"folder:{root / 'train'}" in str(caught.value)
    assert "cat" in str(caught.value)
    shutil.rmtree(root / "cat")
    (root / "notes").mkdir()
    (root / "notes" / "a.txt").write_text("x")
    assert load(root).class_names == ("ant", "bee"), "a folder without images is no class"


@pytest.mark.parametrize("other", ["val", "valid", "validation", "test", "training"])
def test_two_parts_without_class_folders_are_no_classes(tmp_path: Path, other: str) -> None:
    for names in (("train", other), ("train", other, "bus")):
        root = flat(tmp_path / "_".join(names), names)
        with pytest.raises(UserError):
            load(root)


def test_test_images_without_labels_are_left_aside(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets", valid=0)
    save(root / "test" / "1.jpg")
    assert load(root).class_names == ("ant", "bee")
    assert "test" in not_read(root)
    save(root / "test" / "ant" / "1.jpg")
    with pytest.raises(UserError):
        load(root)


def test_parts_beside_the_two_that_are_used_are_told(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    shutil.copytree(root / "val", root / "test")
    shutil.copytree(root / "val", root / "valid")
    line = not_read(root)
    assert "test" in line
    assert "valid" in line
    assert np.bincount(load(root).valid.labels).tolist() == [2, 2]


def test_a_link_to_nowhere_matters_among_classes_alone(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    (root / "latest").symlink_to(tmp_path / "gone")
    assert load(root).class_names == ("ant", "bee")
    (root / "train" / "latest").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError) as caught:
        load(root)
    assert str(root / "train" / "latest") in str(caught.value)
