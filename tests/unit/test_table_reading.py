"""What cannot be used is refused by its file, its row and its column."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_files import made_up_frame, write

from proxyflow.core.errors import InvalidValue, printable
from proxyflow.data.catalog import load_dataset
from proxyflow.data.protocol import Dataset
from proxyflow.data.table.contents import contents_of
from proxyflow.data.table.formats import formats, read_table
from proxyflow.data.table.store import TableSet, rows_of

CSV = "id,text,label\n" + "".join(f"r{n},text {n},{'ab'[n % 2]}\n" for n in range(8))


def load(path: Path, columns: str = "", said: list[str] | None = None) -> Dataset:
    return load_dataset(f"table:{path}{columns}", say=[].append if said is None else said.append)


def refused(path: Path, columns: str = "") -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        load(path, columns)
    message = str(caught.value)
    assert message == printable(message), "one line"
    assert str(path) in message
    assert caught.value.exit_status == 2
    return caught.value


def frame_file(tmp_path: Path, **columns: Any) -> Path:
    frame = made_up_frame(60)
    for name, values in columns.items():
        frame[name] = values
    return write(frame, tmp_path / "data.csv")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"id,label\n", "no rows"),
        ("a.csv", b"\nid,label\n", "first line"),
        ("a.csv", CSV.encode() + b"r9,too,many,cells\n", "row 9:"),
        ("a.csv", CSV.encode() + "r9,caf\xe9,a\n".encode("latin-1"), "line 10"),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-20], "cannot be read"),
        ("a.csv.gz", CSV.encode(), "cannot be read"),
        ("a.jsonl", b'{"label": "a"}\n{"label": \n', "line 2"),
        ("a.jsonl", b'{"label": "a"}\n["b"]\n', "line 2"),
        ("a.jsonl", b'{"label": "a"}\n{"label": 3}\n', "line 2"),
        ("a.jsonl", b'{"label": "a"}\n{"label": "\xff"}\n', "line 2"),
        ("a.parquet", b"PAR1 and nothing else", "Parquet"),
    ],
)
def test_damaged_files_are_refused(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    error = refused(path)
    assert (error.name, error.value) == ("dataset", path)
    assert said in error.rule


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write(made_up_frame(), tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path).name == "dataset"


def test_columns_need_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,text\nx,a,y\n")
    error = refused(path)
    assert (error.name, error.value) == ("column", "text")
    path.write_text("text,lab\x1bel\nx,a\n")
    assert refused(path).name == "column"


def test_a_column_without_a_name_is_a_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    made_up_frame().to_csv(path)  # pandas writes its index so
    assert rows_of(load(path).train).store.table.column_names[0] == ""


def test_columns_of_other_types_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"label": ["a", "b"], "image": [{"bytes": b"1"}, {"bytes": b"2"}]}), path)
    error = refused(path)
    assert (error.name, error.value) == ("column", "image")


def test_types_of_parquet_are_kept_or_made_usual(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {
        "small": pa.array([1, 2, None], pa.int8()),
        "half": pa.array(np.array([1, 2, 3], np.float16)),
        "word": pa.array(["a", "b", "a"]).dictionary_encode(),
        "when": pa.array([1, 2, 3], pa.timestamp("s", "Europe/Paris")),
        "vector": pa.array([[1.0], [2.0], None], pa.list_(pa.float32())),
        "nothing": pa.nulls(3),
    }
    pq.write_table(pa.table(columns), path)
    types = {field.name: str(field.type) for field in read_table(path).schema}
    assert types == {
        "small": "int64",
        "half": "float",
        "word": "large_string",
        "when": "timestamp[ms, tz=UTC]",
        "vector": "list<item: double>",
        "nothing": "large_string",
    }
    pq.write_table(pa.table({"big": pa.array([2**64 - 1], pa.uint64())}), path)
    with pytest.raises(InvalidValue) as caught:
        read_table(path)
    assert (caught.value.name, caught.value.value) == ("column", "big")


@pytest.mark.parametrize("name", [*formats])
def test_what_is_written_is_what_was_read(name: str, tmp_path: Path) -> None:
    """Leading zeros, numbers as they are spelled, empty cells, line breaks and quotes, and times in JSON."""
    suffix = formats[name].suffixes[0]
    frame = pd.DataFrame(
        {"zip": ["007", ""], "x": ["1.50", "1e5"], "text": ['a,"b"\n', "\tü"], "at": ["2020-01-01"] * 2}
    )
    path, again = write(frame, tmp_path / f"a{suffix}"), tmp_path / f"b{suffix}"
    table = read_table(path)
    assert table.column_names == list(frame.columns)
    assert table.to_pydict() == frame.to_dict("list")
    formats[name].write(table, again)
    assert read_table(again).equals(table)


def test_a_table_without_labels_says_which_columns_it_has(tmp_path: Path) -> None:
    path = write(made_up_frame(60).rename(columns={"label": "stars"}), tmp_path / "a.csv")
    error = refused(path)
    assert error.name == "label"
    assert "id, text, x, count, stars" in error.rule
    assert f"table:{path}[label=" in error.rule
    assert load(path, "[label=stars]").class_names == ("bad", "fine", "good")


def test_a_named_column_must_be_there_and_have_one_role(tmp_path: Path) -> None:
    path = frame_file(tmp_path)
    error = refused(path, "[group=patient]")
    assert (error.name, error.value) == ("group", "patient")
    error = refused(path, "[group=id]")
    assert (error.name, error.value) == ("group", "id")
    assert rows_of(load(path, "[group=id,id=]").train).store.roles == {"label": "label", "group": "id"}


def with_cell(column: str, row: int, value: object) -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        frame = made_up_frame(60)
        frame["split"], frame["group"] = np.where(np.arange(60) % 5, "train", "val"), np.arange(60) % 5 % 4
        frame["group"] = [f"g{number % 5}" for number in range(60)]
        frame.loc[row, column] = value
        return write(frame, tmp_path / "data.csv")

    return make


@pytest.mark.parametrize(
    ("column", "value", "reported", "rows"),
    [
        ("label", "", "(missing)", ("row 5 of",)),
        ("label", "a\x1bb", "a\x1bb", ("row 5 of",)),
        ("id", "", "(missing)", ("row 5 of",)),
        ("id", "r002", "r002", ("row 3 of", "row 5 ")),
        ("split", "tain", "tain", ("row 5 of",)),
        ("split", "", "(missing)", ("row 5 of",)),
        ("group", "", "(missing)", ("row 5 of",)),
        ("group", "g0", "g0", ("row 5 of", "row 1 ")),
    ],
)
def test_a_wrong_cell_is_named_by_its_row_and_column(
    column: str, value: str, reported: str, rows: tuple[str, ...], tmp_path: Path
) -> None:
    error = refused(with_cell(column, 4, value)(tmp_path))
    assert (error.name, error.value) == (column, reported)
    assert f"column {column}" in error.rule or "control" in error.rule
    for row in rows:
        assert row in error.rule


def test_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for labels in ("bad", rng.normal(size=60), np.arange(60) * 3, [f"name {n}" for n in range(60)]):
        error = refused(frame_file(tmp_path, label=labels))
        assert error.name == "label"
    assert "qcut" in refused(frame_file(tmp_path, label=rng.normal(size=60))).rule
    assert len(load(frame_file(tmp_path, label=np.arange(60) % 3 / 2)).class_names) == 3, "a few levels are classes"


def test_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found = load(frame_file(tmp_path, label=np.arange(60) % 12))
    assert found.class_names == tuple(map(str, range(12)))
    rows = rows_of(found.train)
    assert rows.labels.tolist() == [int(label) for label in rows.table.column("label").to_pylist()]


@pytest.mark.parametrize(
    ("split", "value"), [(["train"] * 60, "no validation rows"), (["val", "test"] * 30, "no training rows")]
)
def test_a_split_needs_both_sides(split: list[str], value: str, tmp_path: Path) -> None:
    path = frame_file(tmp_path, split=split)
    error = refused(path)
    assert (error.name, error.value) == ("split", value)
    assert ("[split=]" in error.rule) is ("test" not in split), "rows kept for a test are not trained on by advice"
    assert len(load(path, "[split=]").valid) == 18, "a column that is named away is an ordinary one"


def test_the_split_of_the_file_is_used_and_test_rows_are_left_out(tmp_path: Path) -> None:
    split = np.array(["Train", "validation", "test", "training", " dev "] * 12)
    said: list[str] = []
    dataset = load(frame_file(tmp_path, split=split), said=said)
    train, valid = rows_of(dataset.train), rows_of(dataset.valid)
    assert train.positions.tolist() == [row for row in range(60) if split[row].lower().startswith("train")]
    assert set(valid.positions) <= {row for row in range(60) if split[row] in ("validation", " dev ")}
    assert train.ids.tolist() == list(range(24))
    assert train.identifiers.tolist() == [f"r{row:03d}" for row in train.positions]
    assert any("12 test rows" in line for line in said)


def test_groups_stay_on_one_side(tmp_path: Path) -> None:
    dataset = load(frame_file(tmp_path, group=np.arange(60) // 3))
    train, valid = dataset.train.groups, dataset.valid.groups
    assert train is not None
    assert valid is not None
    assert not set(train) & set(valid)
    assert len(set(train)) + len(set(valid)) == 20


def test_subsets_share_one_table() -> None:
    rows = TableSet.of([0, 1, 0, 1], {"x": [1, 2, 3, 4]}, ids=["a", "b", "c", "d"], groups=[0, 0, 1, 1])
    some = rows.take(np.array([3, 1])).with_ids(np.array([7, 8]))
    assert some.store is rows.store
    assert some.table.column("x").to_pylist() == [4, 2]
    assert (some.identifiers.tolist(), some.ids.tolist(), some.positions.tolist()) == (["d", "b"], [7, 8], [3, 1])
    assert some.groups is not None
    assert some.groups.tolist() == ["1", "0"]
    assert some.content_hashes.tolist() == rows.content_hashes[[3, 1]].tolist()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", "b"], ("a", "b")),
        ([10, 9, 10], ("9", "10")),
        (np.array([True, False, True]), ("False", "True")),
        (pd.Series(["b", "a", "b"], dtype="category"), ("a", "b")),
        ([("x", 1), "y", ("x", 1)], ("('x', 1)", "y")),
        (iter("aba"), ("a", "b")),
    ],
)
def test_labels_in_memory_may_be_anything_with_a_name(labels: Any, names: tuple[str, ...]) -> None:
    contents = contents_of(labels)
    assert contents.class_names == names
    assert len(set(contents.train.content_hashes)) == 3, "without columns an example is its position"


def test_data_in_memory_may_have_a_split_groups_ids_and_columns() -> None:
    frame = pd.DataFrame({"x": [1.5, 2.5, 1.5, 2.5]}, index=[9, 8, 7, 6])
    contents = contents_of(
        list("abab"), frame, split=["train", "train", "val", "val"], group=[1, 1, 2, 2], id=[5, 6, 7, 8]
    )
    assert contents.valid is not None
    assert rows_of(contents.valid).identifiers.tolist() == [7, 8]
    assert contents.valid.content_hashes.tolist() == contents.train.content_hashes.tolist(), (
        "the columns are the content"
    )
    by_id = contents_of(list("abab"), id=[5, 6, 7, 8])
    turned = contents_of(list("baba"), id=[8, 7, 6, 5])
    assert sorted(by_id.train.content_hashes) == sorted(turned.train.content_hashes), "ids count, not positions"


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"labels": ["a", None, "b"]}, "label", "(missing)"),
        ({"labels": ["a", float("nan"), "b"]}, "label", "(missing)"),
        ({"labels": ["a", "a"]}, "label", "a"),
        ({"labels": ["a", "b"], "id": [1, 1]}, "id", "1"),
        ({"labels": ["a", "b"], "split": ["train"]}, "column", "split"),
        ({"labels": ["a", "b"], "columns": {"label": [1, 2]}}, "column", "label"),
        ({"labels": ["a", "b"], "columns": 3}, "columns", "int"),
        ({"labels": 3}, "label", "int"),
    ],
)
def test_wrong_data_in_memory_are_refused(given: dict[str, Any], name: str, value: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        contents_of(**given)
    assert (caught.value.name, caught.value.value) == (name, value)
