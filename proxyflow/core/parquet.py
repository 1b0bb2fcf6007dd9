"""Reads Parquet files from untrusted sources: validates the footer first, and bounds the memory of each batch.

A small footer can claim any number of rows, and a small page can encode any number of copies of one long value. So only
codecs with a known maximum compression ratio are accepted, and batches are small enough for the worst case, in which
every row repeats all bytes of its column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from proxyflow.core.errors import one_line, shortened
from proxyflow.core.parquet_metadata import Footer, RowGroup, read_footer

# Maximum compression ratio by codec: Snappy's densest element encodes 64 bytes in 3.
EXPANSION = {"UNCOMPRESSED": 1, "SNAPPY": 22}
LARGEST_STRING, LARGEST_CONTAINER = 16 * 2**20, 200_000  # limits in the footer
BATCH_BYTES = 2**30  # worst-case bytes of one batch, unless it has only one row
MOST_ROWS, MOST_CELLS = 50_000_000, 2**28


@dataclass(frozen=True)
class CheckedTable:
    """An open file with a validated footer."""

    file: pq.ParquetFile
    footer: Footer
    dictionaries: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.footer.rows

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, without metadata."""
        return self.file.schema_arrow.remove_metadata()

    def batches(self, columns: Sequence[str], most_rows: int = 65536) -> Iterator[pa.RecordBatch]:
        """Yields all rows of some columns, in order.

        Args:
            columns: names; for a nested field the path, such as `image.bytes`.
            most_rows: maximum rows per batch.

        Raises:
            ValueError: the file is corrupt, or its number of rows differs from the footer.
        """
        found = 0
        with _as_value_error():
            for number, group in enumerate(self.footer.groups):
                # A dictionary has a value once, however many rows repeat it.
                rows = min(most_rows, _rows_per_batch(group, {*columns} - self.dictionaries))
                for batch in self.file.iter_batches(rows, row_groups=[number], columns=list(columns)):
                    found += len(batch)
                    yield batch
        if found != self.rows:
            raise ValueError(f"its footer says {self.rows:,} rows, and it has {found:,}")


@contextmanager
def open_table(
    path: Path, check: Callable[[pa.Schema], None], most_rows: int = MOST_ROWS, dictionaries: Collection[str] = ()
) -> Iterator[CheckedTable]:
    """Opens a file after validating its footer.

    Args:
        path: the file.
        check: raises ValueError if the schema is not the expected one.
        most_rows: maximum number of rows.
        dictionaries: columns of text that are read as Arrow dictionaries, which is much faster for columns of many
            megabytes; decode them without copying a value for each of its rows.

    Raises:
        OSError: the file does not exist.
        ValueError: it is not a Parquet file, is corrupt, or its footer is implausible.
    """
    size = path.stat().st_size
    footer = read_footer(path, size)
    _check_claims(footer, size, most_rows)
    found = {chunk.column for group in footer.groups for chunk in group.chunks}
    with _as_value_error():
        file = pq.ParquetFile(
            path,
            read_dictionary=[name for name in dictionaries if name in found],
            thrift_string_size_limit=LARGEST_STRING,
            thrift_container_size_limit=LARGEST_CONTAINER,
        )
    with file:
        with _as_value_error():
            check(file.schema_arrow.remove_metadata())
        yield CheckedTable(file, footer, frozenset(dictionaries))


def _check_claims(footer: Footer, size: int, most_rows: int) -> None:
    rows, columns = footer.rows, max((len(group.chunks) for group in footer.groups), default=0)
    if not 0 <= rows <= most_rows or rows * columns > MOST_CELLS:
        raise ValueError(f"its footer says {rows:,} rows of {columns:,} columns, which is too many")
    if (
        min((group.rows for group in footer.groups), default=0) < 0
        or sum(group.rows for group in footer.groups) != rows
    ):
        raise ValueError(f"its footer says {rows:,} rows, and its row groups have another number")
    for group in footer.groups:
        for chunk in group.chunks:
            place = shortened(chunk.column)
            if chunk.codec not in EXPANSION:
                raise ValueError(f"column {place} is compressed by {chunk.codec}, not {' or '.join(EXPANSION)}")
            if not 0 <= chunk.compressed <= size or chunk.values != group.rows:
                raise ValueError(
                    f"column {place} claims {chunk.values:,} values in {chunk.compressed:,} bytes, in a file of "
                    f"{size:,} bytes and a row group of {group.rows:,} rows"
                )


def _rows_per_batch(group: RowGroup, columns: Collection[str]) -> int:
    """Rows that fit into `BATCH_BYTES` if each value had all bytes of its column."""
    widths = [
        chunk.compressed * EXPANSION[chunk.codec]
        for chunk in group.chunks
        if chunk.column in columns and not chunk.fixed_width
    ]
    return max(1, BATCH_BYTES // max([1, *widths]))


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Converts the many error types of Arrow to ValueError."""
    try:
        yield
    except (pa.ArrowException, OSError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(one_line(error)) from None
