"""Images in class folders as programs read them, and the user's own files stay what they are."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import save
from PIL import Image

from proxyflow.core.errors import UserError
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.data.images.files import folder_names, write_class_folders
from proxyflow.data.images.modality import images_of
from proxyflow.data.protocol import Dataset
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.trainers.program.folder import subset_files


@given(
    st.lists(
        st.text(max_size=5) | st.sampled_from(["a", "A", "a-1", "A-2", "_a-2", "..", "con/a", "", "a."]), max_size=6
    )
)
def test_every_class_has_a_folder_of_its_own(names: list[str]) -> None:
    found = folder_names(names)
    assert len({each.casefold() for each in found}) == len(names)
    assert all(each.strip(". ") and not set(each) & set('/\\:*?"<>|\0\n') for each in found)
    assert all("/" not in each and each not in (".", "..") for each in found)


def test_ordinary_names_stay() -> None:
    names = ["cat", "n01440764", "golden retriever", "Ünïcode", "7", "-x", "a.b"]
    assert folder_names(names) == names


def make(root: Path) -> dict[str, Path]:
    """Files of two classes with names that clash in one folder."""
    names = ("train/a/x.png", "train/a/deep/x.png", "train/a/deep/00000000-x.png", "train/a/X.PNG", "train/b/x.png",
             "train/b/y.png", "val/a/v.png", "val/b/v.png")  # fmt: skip
    for seed, name in enumerate(names):
        save(root / name, seed=seed)
    return {name: root / name for name in names}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "my pictures"
    make(root)
    return root


def load(root: Path) -> Dataset:
    return load_dataset(f"folder:{root}", DataOptions(), lambda text: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_with_the_same_name_are_all_there(root: Path, tmp_path: Path) -> None:
    dataset = load(root)
    before = contents(root)
    folder = write_class_folders(images_of(dataset.train), dataset.class_names, tmp_path / "out")
    found = contents(folder)
    of_class = {label: sorted(data for name, data in found.items() if name[0] == label) for label in "ab"}
    expected = {
        label: sorted(data for name, data in before.items() if name.startswith(f"train/{label}")) for label in "ab"
    }
    assert of_class == expected
    assert all(path.is_symlink() for path in folder.rglob("*") if not path.is_dir())
    assert all(path.suffix.lower() == ".png" for path in folder.rglob("*") if not path.is_dir())
    assert contents(root) == before


def test_an_image_that_is_there_twice_is_written_twice(root: Path, tmp_path: Path) -> None:
    dataset = load(root)
    train = images_of(dataset.train)
    twice = train.take(np.array([0, 0, 1, 1, 1]))
    before = contents(root)
    folder = write_class_folders(twice, dataset.class_names, tmp_path / "out")
    assert len(contents(folder)) == 5
    assert contents(root) == before


def test_without_links_files_are_copied_and_none_of_the_users_is_written_to(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **more: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    monkeypatch.setattr("os.link", refused)
    dataset = load(root)
    before = contents(root)
    folder = write_class_folders(images_of(dataset.train), dataset.class_names, tmp_path / "out")
    assert sorted(contents(folder).values()) == sorted(data for name, data in before.items() if name[0] == "t")
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    with pytest.raises(FileExistsError):
        write_class_folders(images_of(dataset.train), dataset.class_names, tmp_path / "out")
    assert contents(root) == before


def test_an_image_whose_file_is_gone_is_written_from_what_is_kept_of_it(root: Path, tmp_path: Path) -> None:
    dataset = load(root)
    with Image.open(root / "train/b/x.png") as image:
        before = np.asarray(image)
    (root / "train/b/x.png").unlink()
    write_class_folders(images_of(dataset.train), dataset.class_names, tmp_path / "out")
    (written,) = [path for path in (tmp_path / "out/b").iterdir() if path.name != "y.png"]
    with Image.open(written) as image:
        assert np.array_equal(np.asarray(image), before)


def test_an_image_whose_file_is_gone_and_that_is_kept_smaller_is_named(root: Path, tmp_path: Path) -> None:
    save(root / "train/b/large.png", seed=99, size=(900, 900))
    dataset = load_dataset(f"folder:{root}", DataOptions(image_size=16), lambda text: None)
    (root / "train/b/large.png").unlink()
    with pytest.raises(UserError) as caught:
        write_class_folders(images_of(dataset.train), dataset.class_names, tmp_path / "out")
    assert "large.png" in str(caught.value)


def test_links_survive_the_working_folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    dataset = load(Path(root.name))
    folder = write_class_folders(images_of(dataset.train), dataset.class_names, Path("out"))
    monkeypatch.chdir(tmp_path.parent)
    assert contents(root.parent / folder)


def test_digits_are_files_named_by_id(tmp_path: Path) -> None:
    subset = choose_subset(
        load_dataset("digits@100", DataOptions(), lambda text: None), parse_strategy("random:0.5"), 0
    )
    data = subset_files(subset, tmp_path)
    images = images_of(subset.train)
    files = {int(path.stem): path for path in data.train.rglob("*.png")}
    assert sorted(files) == sorted(images.ids.tolist())
    for row, number, label in zip(images.rows[:5], images.ids[:5], images.labels[:5], strict=True):
        assert files[number].parent.name == str(label)
        with Image.open(files[number]) as image:
            assert np.array_equal(np.asarray(image), images.store.image(row).squeeze())


def test_classes_are_numbered_the_same_in_both_parts(tmp_path: Path) -> None:
    """As `torchvision.datasets.ImageFolder` does, by the folders that are there."""
    subset = choose_subset(load_dataset("digits@100", DataOptions(), lambda text: None), parse_strategy("full"), 0)
    train = subset.train.take(subset.train.labels != 3)
    valid = subset.valid.take(subset.valid.labels != 5)
    data = subset_files(dataclasses.replace(subset, train=train, valid=valid), tmp_path)
    assert [sorted(path.name for path in part.iterdir()) for part in (data.train, data.valid)] == [
        list("0123456789")
    ] * 2
    half = choose_subset(
        load_dataset("digits@100", DataOptions(), lambda text: None), parse_strategy("half-classes:0.5"), 0
    )
    data = subset_files(half, tmp_path)
    assert sorted(path.name for path in data.train.iterdir()) == [half.class_names[label] for label in half.classes]
