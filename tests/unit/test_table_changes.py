"""Rows that changed since they were scored, or since a subset was made of them, are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up import random_scores
from table_files import made_up_frame, write

from proxyflow.core.errors import UserError
from proxyflow.data.catalog import load_dataset
from proxyflow.data.modality import modalities
from proxyflow.data.protocol import Dataset
from proxyflow.data.table.contents import contents_of
from proxyflow.subsets.subset import align_scores, describe_difference


def datasets(tmp_path: Path) -> tuple[Dataset, Dataset]:
    """A data set, and what it is after a row of it was changed and another was added."""
    frame = made_up_frame(90)
    frame["split"] = np.where(np.arange(90) < 60, "train", "valid")
    path = write(frame, tmp_path / "a.csv")
    before = load_dataset(f"table:{path}", say=[].append)
    frame.loc[16, "x"] = 99.5
    frame.loc[90] = {**frame.loc[3].to_dict(), "id": "r900", "text": "new"}
    return before, load_dataset(f"table:{write(frame, path)}", say=[].append)


def test_scores_of_changed_rows_are_refused_by_the_first_row(tmp_path: Path) -> None:
    before, after = datasets(tmp_path)
    scores = random_scores(before.train)
    assert len(align_scores(scores, before.train).frame) == 60
    with pytest.raises(UserError) as caught:
        align_scores(scores, after.train)
    assert "row 17 (id r016)" in str(caught.value)


def test_the_difference_counts_what_is_new_and_what_is_gone(tmp_path: Path) -> None:
    before, after = datasets(tmp_path)
    keys = list(zip(before.train.content_hashes.tolist(), before.train.labels.tolist(), strict=True))
    assert describe_difference(before.train, keys) == ""
    assert describe_difference(before.train, keys[1:]).startswith("row 1 (id r000)")
    assert "1 rows" in describe_difference(after.train, keys)
    assert describe_difference(before.train, [*keys, keys[0]]).startswith("1 rows"), "copies count"


def test_data_in_memory_are_named_by_position() -> None:
    rows = contents_of(["a", "b"]).train
    assert modalities[rows.modality].name_of(rows, 1) == "row 2"


def test_rows_that_nothing_tells_apart_are_warned_of(tmp_path: Path) -> None:
    frame = made_up_frame(90)[["label", "count"]]
    said: list[str] = []
    load_dataset(f"index:{write(frame, tmp_path / 'a.csv')}", say=said.append)
    assert [line for line in said if line.startswith("warning") and "same as another one in count" in line]
    said.clear()
    load_dataset(f"index:{write(frame.assign(id=range(90)), tmp_path / 'b.csv')}", say=said.append)
    assert not [line for line in said if "same as another one" in line]
