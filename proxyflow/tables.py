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

import pyarrow as pa
import pyarrow.parquet as pq

from proxyflow.errors import one_line, shortened
from proxyflow.footers import Footer, Group, read_footer

# Snappy's densest element stands for 64 bytes and takes 3; what is stored plain takes itself.
EXPANSION = {"UNCOMPRESSED": 1, "SNAPPY": 22}
LARGEST_STRING, LARGEST_CONTAINER = 16 * 2**20, 200_000  # in the footer
TOGETHER = 2**30  # bytes that one batch may take at the very worst, unless it has one row
MOST_ROWS, MOST_CELLS = 50_000_000, 2**28


@dataclass(frozen=True)
class CheckedTable:
    """An open file whose footer was found to be sound.

    Attributes:
        footer: what it says of itself.
    """

    file: pq.ParquetFile
    footer: Footer

    @property
    def rows(self) -> int:
        """How many it has."""
        return self.footer.rows

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
            for number, group in enumerate(self.footer.groups):
                rows = min(together, _rows_together(group, columns))
                for batch in self.file.iter_batches(rows, row_groups=[number], columns=list(columns)):
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
    footer = read_footer(path, size)
    _check_claims(footer, size, most_rows)
    with _as_value_error():
        file = pq.ParquetFile(
            path, thrift_string_size_limit=LARGEST_STRING, thrift_container_size_limit=LARGEST_CONTAINER
        )
    with file:
        with _as_value_error():
            check(file.schema_arrow.remove_metadata())
        yield CheckedTable(file, footer)


def _check_claims(footer: Footer, size: int, most_rows: int) -> None:
    rows, columns = footer.rows, max((len(group.chunks) for group in footer.groups), default=0)
    if not 0 <= rows <= most_rows or rows * columns > MOST_CELLS:
        raise ValueError(f"it says that it has {rows:,} rows of {columns:,} columns, which is too many")
    if (
        min((group.rows for group in footer.groups), default=0) < 0
        or sum(group.rows for group in footer.groups) != rows
    ):
        raise ValueError(f"it says that it has {rows:,} rows, and its parts have not")
    for group in footer.groups:
        for chunk in group.chunks:
            place = shortened(chunk.column)
            if chunk.codec not in EXPANSION:
                raise ValueError(f"column {place} is compressed by {chunk.codec}, not {' or '.join(EXPANSION)}")
            if not 0 <= chunk.compressed <= size or chunk.values != group.rows:
                raise ValueError(
                    f"column {place} says that it has {chunk.values:,} values in {chunk.compressed:,} bytes, in a file "
                    f"of {size:,} bytes whose part has {group.rows:,} rows"
                )


def _rows_together(group: Group, columns: Sequence[str]) -> int:
    """How many rows fit, were each value all that its column holds."""
    widths = [
        chunk.compressed * EXPANSION[chunk.codec]
        for chunk in group.chunks
        if chunk.column in columns and not chunk.fixed_width
    ]
    return max(1, TOGETHER // max([1, *widths]))


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Arrow's errors are of many kinds; each becomes a ValueError in one line."""
    try:
        yield
    except (pa.ArrowException, OSError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(one_line(error)) from None
