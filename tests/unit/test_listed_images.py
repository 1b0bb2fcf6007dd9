"""A column of a table may name image files: they are images, with the table's labels, split and groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from picture_files import make_folder
from table_files import write

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.images.store import ImageSet, images_of
from proxyflow.data.modality import modalities
from proxyflow.data.protocol import Dataset
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """24 pictures in pairs, of two species."""
    folder = make_folder(tmp_path / "pets", ("ant", "bee"), train=12, valid=0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return pd.DataFrame(
        {
            "path": [str(path.relative_to(tmp_path)) for path in files],
            "label": [path.parent.name for path in files],
            "group": [f"pair {number // 2}" for number in range(len(files))],
        }
    )


def load(frame: pd.DataFrame, tmp_path: Path, test: int = 0) -> Dataset:
    index = write(frame, tmp_path / "list.csv")
    options = DataOptions(tmp_path / "data", evaluation=EvaluationSettings(test_examples=test))
    return load_dataset(f"index:{index}[image=path]", options, [].append)


def files_of(images: ImageSet) -> list[str]:
    return [images.store.files[row] for row in images.rows]


def test_they_are_the_images_of_a_folder(frame: pd.DataFrame, tmp_path: Path) -> None:
    dataset = load(frame.drop(columns="group"), tmp_path)
    folder = load_dataset(f"folder:{tmp_path}/pets/train", DataOptions(tmp_path / "data"), [].append)
    assert (dataset.fingerprint, dataset.class_names) == (folder.fingerprint, ("ant", "bee"))
    assert dataset.train.groups is None


@pytest.mark.parametrize("test", [0, 4])
def test_groups_stay_on_one_side_also_from_the_cache(test: int, frame: pd.DataFrame, tmp_path: Path) -> None:
    group_of = dict(zip(frame["path"], frame["group"], strict=True))
    for dataset in (load(frame, tmp_path, test), load(frame, tmp_path, test)):
        sides = []
        for examples in (dataset.train, *dataset.held_out.values()):
            images = images_of(examples)
            assert images.groups is not None
            assert [group_of[file] for file in files_of(images)] == images.groups.tolist()
            sides.append(set(images.groups.tolist()))
        assert len(set.union(*sides)) == sum(map(len, sides)) == 12


def test_they_are_known_by_their_rows_and_ids(frame: pd.DataFrame, tmp_path: Path) -> None:
    modality = modalities["images"]
    for _ in range(2):  # the second time from the cache
        images = images_of(load(frame, tmp_path).train)
        assert frame["path"][modality.positions(images)].tolist() == files_of(images)
        assert modality.identifiers(images).tolist() == modality.positions(images).tolist()
    frame["id"] = [f"image {number}" for number in range(24)]
    images = images_of(load(frame, tmp_path).train)
    assert modality.identifiers(images).tolist() == frame["id"][modality.positions(images)].tolist()


def test_the_split_of_the_table_is_used(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["split"] = np.tile(["train", "train", "val", "val", "test", "test"], 4)
    dataset = load(frame, tmp_path)
    split_of = dict(zip(frame["path"], frame["split"], strict=True))
    assert {split_of[file] for file in files_of(images_of(dataset.train))} == {"train"}
    assert {split_of[file] for file in files_of(images_of(dataset.valid))} == {"val"}
    assert len(dataset.train) == len(dataset.valid) == 8


def test_another_table_is_another_data_set(frame: pd.DataFrame, tmp_path: Path) -> None:
    before = load(frame, tmp_path)
    frame.loc[0, "label"] = "bee"
    assert load(frame, tmp_path).fingerprint != before.fingerprint, "the files have not changed, and a label has"
    frame["group"] = [f"trio {number // 3}" for number in range(24)]
    assert set(np.char.partition(load(frame, tmp_path).train.groups.astype(str), " ")[:, 0]) == {"trio"}  # type: ignore[union-attr]


def test_a_subset_of_them_travels(frame: pd.DataFrame, tmp_path: Path) -> None:
    subset = choose_subset(load(frame, tmp_path), parse_strategy("random:0.5"), 0)
    write_subset(subset, tmp_path / "subset")
    assert read_subset(tmp_path / "subset").fingerprint == subset.fingerprint


def test_a_row_without_a_path_and_a_missing_file_are_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[4, "path"] = "pets/nowhere.jpg"
    with pytest.raises(UserError, match=r"nowhere\.jpg"):
        load(frame, tmp_path)
    frame.loc[4, "path"] = None
    with pytest.raises(InvalidValue) as caught:
        load(frame, tmp_path)
    assert caught.value.name == "image"
    assert "row 5 of" in caught.value.rule
    with pytest.raises(InvalidValue) as caught:
        load(frame.rename(columns={"path": "file"}), tmp_path)
    assert (caught.value.name, caught.value.value) == ("image", "path")
