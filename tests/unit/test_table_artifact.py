"""A subset of a table travels as files: all columns, positions, ids and groups, and nothing in them is trusted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import random_scores
from table_files import made_up_frame, write

from proxyflow.core.errors import UserError, printable
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.modality import modalities
from proxyflow.data.protocol import Dataset
from proxyflow.data.table.contents import contents_of
from proxyflow.data.table.formats import read_table
from proxyflow.data.table.store import TableSet, rows_of
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset

TRAIN = "train-00000.parquet"


def dataset_of(path: Path, columns: str = "", test: int = 0) -> Dataset:
    return load_dataset(
        f"table:{path}{columns}", DataOptions(evaluation=EvaluationSettings(test_examples=test)), [].append
    )


@pytest.fixture
def subset(tmp_path: Path) -> Subset:
    """Columns that are called as those of every subset, lists, times, and missing values."""
    frame = made_up_frame(120).rename(columns={"x": "score", "count": "row", "text": "a.b"})
    frame["label_"], frame["group"] = frame["label"].str.upper(), np.arange(120) // 2
    frame["vector"] = [[n / 3, np.nan, np.inf] if n % 7 else None for n in range(120)]
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(120), "h")
    frame["flag"] = np.where(np.arange(120) % 5, True, None)
    dataset = dataset_of(write(frame, tmp_path / "a.parquet"), test=9)
    return choose_subset(dataset, parse_strategy("easiest:0.5"), 3, random_scores(dataset.train))


def test_everything_survives(subset: Subset, tmp_path: Path) -> None:
    write_subset(subset, tmp_path / "subset")
    found = read_subset(tmp_path / "subset")
    assert found.fingerprint == subset.fingerprint
    assert found.preprocessing == subset.preprocessing
    for theirs, ours in ((found.train, subset.train), (found.valid, subset.valid), (found.test, subset.test)):
        assert theirs is not None
        assert ours is not None
        one, two = rows_of(theirs), rows_of(ours)
        assert one.table.equals(two.table)
        for name in ("ids", "labels", "positions", "identifiers", "groups", "digests"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name
        assert (one.store.roles, one.store.format) == (two.store.roles, "parquet")


def test_common_loaders_read_the_files(subset: Subset, tmp_path: Path) -> None:
    write_subset(subset, tmp_path / "subset")
    path = tmp_path / "subset" / TRAIN
    frame, ours = pd.read_parquet(path), rows_of(subset.train).table.to_pandas()
    assert frame["label"].tolist() == subset.train.labels.tolist()
    assert frame["label__"].tolist() == ours["label_"].tolist(), "label_ was taken by label"
    assert frame["a_b"].tolist() == ours["a.b"].tolist()
    assert frame["when"].tolist() == ours["when"].tolist()
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert set(features) == set(frame.columns)
    assert features["label"]["names"] == ["bad", "fine", "good"]
    assert features["score_"] == {"dtype": "float64", "_type": "Value"}


def test_hugging_face_reads_the_files(subset: Subset, tmp_path: Path) -> None:
    loaded = pytest.importorskip("datasets")
    write_subset(subset, tmp_path / "subset")
    found = loaded.load_dataset(
        "parquet", data_files=str(tmp_path / "subset" / TRAIN), cache_dir=str(tmp_path / "cache")
    )
    assert found["train"].features["label"].names == ["bad", "fine", "good"]


ENTRIES: list[dict[str, Any]] = [
    {"columns": []},
    {"columns": [{"name": "a", "stored": "a", "type": "object"}]},
    {"columns": [{"name": "a", "stored": "a.b", "type": "text"}]},
    {"columns": [{"name": "a", "stored": "label", "type": "text"}]},
    {"columns": [{"name": "a", "stored": "row", "type": "text"}]},
    {"columns": [{"name": "a", "stored": "b", "type": "text"}] * 2},
    {"columns": "a"},
    {"roles": {"group": "nobody"}},
    {"roles": ["group"]},
    {"content": ["nobody"]},
    {"content": ["vector", "a.b"]},
    {"content": ["a.b"]},
    {"format": "pickle"},
    {"format": 3},
]


@pytest.mark.parametrize("change", ENTRIES, ids=str)
def test_a_manifest_with_a_wrong_entry_is_refused(change: dict[str, Any], subset: Subset, tmp_path: Path) -> None:
    path = write_subset(subset, tmp_path / "subset")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | change), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_subset(path.parent)
    assert str(path.parent) in str(caught.value)
    assert str(caught.value) == printable(str(caught.value))
    for name in change:
        path.write_text(json.dumps({key: value for key, value in manifest.items() if key != name}), encoding="utf-8")
        with pytest.raises(UserError):
            read_subset(path.parent)


def replaced(folder: Path, name: str, values: list[Any] | pa.Array) -> None:
    """Replaces a column of the training file, and its checksum."""
    file, path = folder / TRAIN, folder / "manifest.json"
    table = pq.read_table(file)
    place = table.column_names.index(name)
    array = values if isinstance(values, pa.Array) else pa.array(values, table.schema.field(name).type)
    pq.write_table(table.set_column(place, pa.field(name, array.type), array), file)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["sha256"][TRAIN] = hashlib.sha256(file.read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vector", "[1, 2"),
        ("vector", "[1, [2]]"),
        ("vector", '["1"]'),
        ("vector", '{"a": 1}'),
        ("vector", "[" * 100_000),
        ("vector", "[1e999]"),
        ("vector", "[true]"),
        ("row", -1),
        ("row", None),
        ("a_b", "other"),
        ("score_", 7.5),
    ],
)
def test_a_wrong_cell_is_refused(name: str, value: object, subset: Subset, tmp_path: Path) -> None:
    write_subset(subset, tmp_path / "subset")
    replaced(tmp_path / "subset", name, [value] * len(subset.train))
    with pytest.raises(UserError) as caught:
        read_subset(tmp_path / "subset")
    assert len(str(caught.value)) < 1500


def test_a_column_of_another_type_is_refused(subset: Subset, tmp_path: Path) -> None:
    write_subset(subset, tmp_path / "subset")
    replaced(tmp_path / "subset", "score_", pa.array(["1.5"] * len(subset.train)))
    with pytest.raises(UserError):
        read_subset(tmp_path / "subset")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_programs_find_the_rows_as_they_were(suffix: str, tmp_path: Path) -> None:
    frame = made_up_frame(60)
    frame["split"] = np.where(np.arange(60) % 5, "train", "validation")
    source = write(frame.rename(columns={"label": "stars"}), tmp_path / f"a{suffix}")
    dataset = dataset_of(source, "[label=stars]")
    subset = choose_subset(dataset, parse_strategy("random:0.5"), 0)
    write_subset(subset, tmp_path / "subset")
    original = read_table(source)
    for number, each in enumerate((subset, read_subset(tmp_path / "subset"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        modality = modalities[each.modality]
        for part, examples in (("train", each.train), ("valid", each.valid)):
            path = modality.write_files(part, examples, each.class_names, folder)  # type: ignore[arg-type]
            assert path == folder / f"{part}{suffix}"
            positions = modality.positions(examples)
            assert read_table(path).equals(original.take(pa.array(positions)))
            assert modality.identifiers(examples).tolist() == [f"r{position:03d}" for position in positions]


def test_data_in_memory_are_written_as_csv_or_as_parquet(tmp_path: Path) -> None:
    rows = modalities["rows"]
    flat = TableSet.of([0, 1], {"x": [1.5, None]})
    assert rows.write_files("train", flat, ("a", "b"), tmp_path).read_text() == "x,label\n1.5,0\n,1\n"
    assert rows.identifiers(flat).tolist() == [0, 1]
    deep = dataclasses.replace(contents_of(["a", "b"], {"x": [[1, 2], [3]]}))
    path = rows.write_files("valid", deep.train, deep.class_names, tmp_path)
    assert path.name == "valid.parquet"
    assert pd.read_parquet(path)["x"].map(list).tolist() == [[1, 2], [3]]


def test_text_that_is_not_utf8_is_refused_also_where_it_is_no_content(subset: Subset, tmp_path: Path) -> None:
    write_subset(subset, tmp_path / "subset")
    n = len(subset.train)
    offsets = np.arange(n + 1, dtype=np.int32)
    replaced(
        tmp_path / "subset", "label__", pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(b"\xff" * n))
    )
    with pytest.raises(UserError):
        read_subset(tmp_path / "subset")
