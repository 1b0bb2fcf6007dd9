"""Parquet files that others may have written: what their footers claim is held against bounds before anything is read.

A footer of a few bytes may claim any number of rows, and a page of a few bytes may stand for any number of copies of
one long value. So the codec has to be the one that our files have, whose ratio is known, and as many rows are read
together as even copies of all that a column holds would leave room for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from proxyflow.errors import one_line

# Snappy's densest element stands for 64 bytes and takes 3; what is stored plain takes itself.
EXPANSION = {"UNCOMPRESSED": 1, "SNAPPY": 22}
LARGEST_FOOTER = 32 * 2**20
LARGEST_STRING, LARGEST_CONTAINER = 16 * 2**20, 200_000  # in the footer
TOGETHER = 2**30  # bytes that one batch may take at the very worst, unless it has one row
MOST_ROWS, MOST_CELLS = 50_000_000, 2**28
FIXED_WIDTH = ("INT64", "DOUBLE")


@dataclass(frozen=True)
class CheckedTable:
    """An open file whose footer was found to be sound.

    Attributes:
        rows: how many it has.
        schema: its columns.
    """

    file: pq.ParquetFile
    rows: int

    @property
    def schema(self) -> pa.Schema:
        """Names and types, without metadata."""
        return self.file.schema_arrow.remove_metadata()

    def batches(self, columns: Sequence[str], together: int = 65536) -> Iterator[pa.RecordBatch]:
        """All rows of some columns, in order.

        Args:
            columns: names; of a structure its leaf, as `image.bytes`.
            together: rows of a batch at most.

        Raises:
            ValueError: the file is damaged, or holds another number of rows than it says.
        """
        found = 0
        with _as_value_error():
            for group in range(self.file.metadata.num_row_groups):
                rows = min(together, _rows_together(self.file.metadata.row_group(group), columns))
                for batch in self.file.iter_batches(rows, row_groups=[group], columns=list(columns)):
                    found += len(batch)
                    yield batch
        if found != self.rows:
            raise ValueError(f"it says that it has {self.rows:,} rows, and holds {found:,}")


@contextmanager
def open_table(path: Path, check: Callable[[pa.Schema], None], most_rows: int = MOST_ROWS) -> Iterator[CheckedTable]:
    """Opens a file and checks what its footer claims.

    Args:
        check: raises ValueError where the columns are not those wanted.
        most_rows: that it may have.

    Raises:
        OSError: it is not there.
        ValueError: it is no Parquet file, damaged, or claims what it cannot hold.
    """
    size = path.stat().st_size
    _check_footer(path, size)
    with _as_value_error():
        file = pq.ParquetFile(
            path, thrift_string_size_limit=LARGEST_STRING, thrift_container_size_limit=LARGEST_CONTAINER
        )
    with file:
        with _as_value_error():
            check(file.schema_arrow.remove_metadata())
            _check_claims(file.metadata, size, most_rows)
        yield CheckedTable(file, file.metadata.num_rows)


def _check_footer(path: Path, size: int) -> None:
    """Refuses a footer that is not there whole, or larger than any of ours."""
    if size < 12:
        raise ValueError(f"it is no Parquet file: it has {size} bytes")
    with path.open("rb") as file:
        file.seek(size - 8)
        length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
    if magic != b"PAR1":
        raise ValueError("it is no whole Parquet file: it does not end as one")
    if length > min(size - 12, LARGEST_FOOTER):
        raise ValueError(f"its footer would have {length:,} bytes; at most {min(size - 12, LARGEST_FOOTER):,} can be")


def _check_claims(metadata: Any, size: int, most_rows: int) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows = metadata.num_rows
    if not 0 <= rows <= most_rows or rows * metadata.num_columns > MOST_CELLS:
        raise ValueError(f"it says that it has {rows:,} rows of {metadata.num_columns:,} columns, which is too many")
    if min((group.num_rows for group in groups), default=0) < 0 or sum(group.num_rows for group in groups) != rows:
        raise ValueError(f"it says that it has {rows:,} rows, and its parts have not")
    for group in groups:
        for chunk in map(group.column, range(group.num_columns)):
            place = chunk.path_in_schema
            if chunk.compression not in EXPANSION:
                raise ValueError(f"column {place} is compressed by {chunk.compression}, not {' or '.join(EXPANSION)}")
            if not 0 <= chunk.total_compressed_size <= size or chunk.num_values != group.num_rows:
                raise ValueError(
                    f"column {place} says that it has {chunk.num_values:,} values in {chunk.total_compressed_size:,} "
                    f"bytes, in a file of {size:,} bytes whose part has {group.num_rows:,} rows"
                )


def _rows_together(group: Any, columns: Sequence[str]) -> int:
    """How many rows fit, were each value all that its column holds."""
    widest = 1
    for chunk in map(group.column, range(group.num_columns)):
        if chunk.path_in_schema in columns and chunk.physical_type not in FIXED_WIDTH:
            widest = max(widest, chunk.total_compressed_size * EXPANSION[chunk.compression])
    return max(1, TOGETHER // widest)


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Arrow's errors are of many kinds; each becomes a ValueError in one line."""
    try:
        yield
    except (pa.ArrowException, OSError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(one_line(error)) from None
