"""Footers are read by our own code, which must see what Arrow sees, and nothing is read that they cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proxyflow.core.parquet import open_table
from proxyflow.core.parquet_metadata import read_footer

SCHEMA = pa.schema([("image", pa.struct([("bytes", pa.binary())])), ("label", pa.int64()), ("score", pa.float64())])


def write(path: Path, rows: int = 50, **options: Any) -> Path:
    columns = {
        "image": pa.array([{"bytes": bytes([row]) * 9} for row in range(rows)], SCHEMA.field("image").type),
        "label": pa.array(range(rows), pa.int64()),
        "score": pa.array([0.5] * rows, pa.float64()),
    }
    pq.write_table(pa.table(columns, schema=SCHEMA.with_metadata({"huggingface": "é" * 500})), path, **options)
    return path


@pytest.mark.parametrize("rows", [0, 1, 50])
@pytest.mark.parametrize("group", [1, 20, 1000])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "none"},
        {"compression": "zstd", "write_page_index": True},
        {"use_dictionary": False, "write_statistics": False, "data_page_version": "2.0", "version": "1.0"},
        {"write_page_checksum": True, "sorting_columns": [pq.SortingColumn(1)]},
    ],
)
def test_a_footer_is_what_arrow_reads(tmp_path: Path, rows: int, group: int, options: dict[str, Any]) -> None:
    path = write(tmp_path / "a.parquet", rows, row_group_size=group, **options)
    ours, theirs = read_footer(path, path.stat().st_size), pq.read_metadata(path)
    assert (ours.rows, len(ours.groups)) == (theirs.num_rows, theirs.num_row_groups)
    for number, group_ in enumerate(ours.groups):
        told = theirs.row_group(number)
        assert group_.rows == told.num_rows
        for place, chunk in enumerate(group_.chunks):
            kept = told.column(place)
            assert (chunk.column, chunk.values) == (kept.path_in_schema, kept.num_values)
            assert (chunk.codec, chunk.compressed) == (kept.compression, kept.total_compressed_size)
            assert chunk.fixed_width == (kept.physical_type in ("INT32", "INT64", "FLOAT", "DOUBLE"))


def anything(schema: pa.Schema) -> None:
    pass


def test_rows_come_in_order_and_in_few_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", 50, row_group_size=20)
    with open_table(path, anything) as table:
        assert table.rows == 50
        batches = list(table.batches(["label", "image.bytes"], 7))
    assert max(map(len, batches)) == 7
    assert [row for batch in batches for row in batch["label"].to_pylist()] == list(range(50))
    assert batches[0]["image"].to_pylist()[1] == {"bytes": b"\1" * 9}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b""), "it has 0 bytes"),
        (lambda path: path.write_bytes(b"x" * 100), "no footer"),
        (lambda path: path.write_bytes(b"PAR1" + b"\xff" * 4 + b"PAR1"), "its footer claims 4,294,967,295 bytes"),
        (lambda path: path.write_bytes(b"PAR1" + b"\x1c" * 90 + (90).to_bytes(4, "little") + b"PAR1"), "nested too"),
        (lambda path: path.write_bytes(b"PAR1" + b"\x19\xff\xff" + (3).to_bytes(4, "little") + b"PAR1"), "corrupt"),
        (lambda path: write(path, compression="zstd"), "compressed by ZSTD, not UNCOMPRESSED or SNAPPY"),
        (lambda path: write(path, rows=101), "its footer says 101 rows of 3 columns, which is too many"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, make: Any, said: str) -> None:
    make(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=said), open_table(tmp_path / "a.parquet", anything, most_rows=100):
        pass


def test_a_dictionary_holds_a_text_once_and_is_read_in_large_batches(tmp_path: Path) -> None:
    """Copies of this text for all rows would take 7 GB."""
    path = tmp_path / "a.parquet"
    ids = pa.DictionaryArray.from_arrays(pa.array([0, 1, None] * 7000, pa.int32()), ["x" * 2**20, "y"])
    pq.write_table(pa.table({"id": ids.cast(pa.dictionary(pa.int32(), pa.string()))}), path, store_schema=False)
    with open_table(path, anything, dictionaries=["id", "absent"]) as table:
        (batch,) = table.batches(["id"])
    assert (len(batch), batch["id"].null_count, len(batch["id"].dictionary)) == (21_000, 7000, 2)
