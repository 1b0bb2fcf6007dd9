"""Rows are known by the text of their cells: neither order nor format of a file changes a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_files import WRITE, made_up_frame, write

from proxyflow.data.catalog import load_dataset
from proxyflow.data.protocol import Dataset, fingerprint
from proxyflow.data.table.columns import TEXT, as_text, target_type
from proxyflow.data.table.identity import content_columns, row_digests
from proxyflow.data.table.store import TableSet, rows_of

QUIET = [].append


def load(name: str) -> Dataset:
    return load_dataset(name, say=QUIET)


def digests(table: pa.Table, content: Sequence[str]) -> list[bytes]:
    return [row.tobytes() for row in row_digests(table, content, np.arange(len(table)))]


@pytest.mark.parametrize("kind", ["index", "table"])
def test_every_format_is_the_same_data_set(kind: str, tmp_path: Path) -> None:
    frame = made_up_frame()
    frame["flag"] = frame["count"] > 4
    frame["empty"] = np.where(frame["count"] > 2, frame["text"].str[:3], None)
    found = {
        suffix: load(f"{kind}:{write(frame, tmp_path / f'a{suffix}')}") for suffix in WRITE if "json" not in suffix
    }
    turned = frame.sample(frac=1, random_state=0)[list(frame.columns[::-1])]
    found["turned"] = load(f"{kind}:{write(turned, tmp_path / 'turned.parquet')}")
    assert len({dataset.fingerprint for dataset in found.values()}) == 1
    frame["flag"] = frame["flag"].map({True: "True", False: "False"})
    frame["empty"] = frame["empty"].fillna("")
    for suffix in (".jsonl", ".jsonl.zst"):
        assert load(f"{kind}:{write(frame, tmp_path / f'a{suffix}')}").fingerprint == found["turned"].fingerprint


def test_the_same_rows_validate_whatever_their_order(tmp_path: Path) -> None:
    frame = made_up_frame()
    one, two = (
        load(f"table:{write(each, tmp_path / name)}")
        for name, each in (("a.csv", frame), ("b.csv", frame.sample(frac=1, random_state=3)))
    )
    ids = [set(rows_of(each.valid).identifiers) for each in (one, two)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == len(one.valid)


@pytest.mark.parametrize(("column", "changes"), [("x", True), ("text", True), ("label", True), ("id", False)])
def test_a_changed_cell_changes_the_fingerprint(column: str, changes: bool, tmp_path: Path) -> None:
    frame = made_up_frame()
    before = fingerprint(TableSet.of(np.arange(len(frame)) % 3, frame.drop(columns=["label", "id"])))
    other = frame.copy()
    other.loc[7, column] = {"x": 0.5, "text": "other", "label": "bad", "id": "r999"}[column]
    one, two = (load(f"table:{write(each, tmp_path / f'{n}.csv')}") for n, each in enumerate((frame, other)))
    assert (one.fingerprint != two.fingerprint) is changes
    assert len(before) == 64


@pytest.mark.parametrize(
    ("names", "roles", "by_id", "expected"),
    [
        (["b", "label", "a"], {"label": "label"}, False, ("a", "b")),
        (["a", "y", "s", "g", "i"], {"label": "y", "split": "s", "group": "g", "id": "i"}, False, ("a",)),
        (["a", "y", "i"], {"label": "y", "id": "i"}, True, ("a", "i")),
        (["y", "i"], {"label": "y", "id": "i"}, False, ("i",)),
        (["y"], {"label": "y"}, True, ()),
    ],
)
def test_the_content_is_what_the_row_is(
    names: list[str], roles: dict[str, str], by_id: bool, expected: tuple[str, ...]
) -> None:
    assert content_columns(names, roles, by_id) == expected


CELLS = st.text(st.sampled_from("1:é,"), max_size=4)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=20))
def test_rows_have_one_digest_exactly_where_their_cells_are_the_same(rows: list[tuple[str, str, str]]) -> None:
    table = pa.table({name: pa.array(cells, TEXT) for name, cells in zip("abc", zip(*rows, strict=True), strict=True)})
    found = digests(table, ["a", "b", "c"])
    assert len(set(found)) == len(set(rows))
    assert len(set(zip(found, rows, strict=True))) == len(set(rows))


def test_names_of_columns_are_content() -> None:
    table = pa.table({"a": pa.array(["1"], TEXT), "b": pa.array(["1"], TEXT)})
    assert digests(table, ["a"]) != digests(table, ["b"])
    assert digests(table.slice(0, 1), []) == digests(table, [])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_are_written_as_python_and_pandas_write_them(numbers: list[float]) -> None:
    assert as_text(pa.array(numbers)).to_pylist() == [repr(number) for number in numbers]
    csv = pd.DataFrame({"x": numbers}).to_csv(index=False).splitlines()[1:]
    assert as_text(pa.array(numbers)).to_pylist() == csv


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([3, None, -1]), ["3", "", "-1"]),
        (pa.array([0.1, 3.0, None, float("nan")], pa.float32()), ["0.1", "3.0", "", ""]),
        (pa.array([True, False, None]), ["True", "False", ""]),
        (pa.array([0, 1_500_000, None], pa.timestamp("us")), ["1970-01-01 00:00:00", "1970-01-01 00:00:01.5", ""]),
        (pa.array([0], pa.timestamp("ms", "UTC")), ["1970-01-01 00:00:00+00:00"]),
        (pa.array([10], pa.date32()), ["1970-01-11"]),
        (pa.array([[1, 2], None, []], pa.list_(pa.int64())), ["[1, 2]", "", "[]"]),
        (pa.array(["a", None, ""], TEXT), ["a", "", ""]),
    ],
)
def test_cells_have_one_text(array: pa.Array, text: list[str]) -> None:
    assert as_text(array).to_pylist() == text
    assert as_text(array.slice(1)).to_pylist() == text[1:], "also behind an offset"


@pytest.mark.parametrize("kind", [pa.binary(), pa.struct([("a", pa.int64())]), pa.duration("s"), pa.list_(pa.string())])
def test_other_types_are_not_taken(kind: pa.DataType) -> None:
    assert target_type(kind) is None
