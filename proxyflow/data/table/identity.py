"""What makes two rows the same: a digest of the text of their cells."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from proxyflow.data.content import DIGEST_BYTES, ROWS_TOGETHER, Digests
from proxyflow.data.table.columns import TEXT, as_text, one_array

# Roles whose columns say where a row belongs or what it is called, and not what it is.
APART = ("label", "split", "group")


def content_columns(names: Sequence[str], roles: Mapping[str, str], by_id: bool) -> tuple[str, ...]:
    """The columns that a row's content consists of.

    The label is left out because fingerprints cover it beside the content, and because a copy of a row under another
    label is still a copy, which must not be on another side of a split. Split and group are left out because moving a
    row does not change it.

    The id of an `index:` stands for an example that is elsewhere, so it is content. In a `table:` the columns are the
    example, and a renumbered table is the same table: there the id counts only where there is no other column.

    Args:
        names: of all columns.
        roles: role to column.
        by_id: the id stands for the example.

    Returns:
        Names in alphabetical order; none where there is nothing but labels, and a row is known by its position.

    Example:
        >>> content_columns(["id", "label", "text"], {"id": "id", "label": "label"}, by_id=False)
        ('text',)
        >>> content_columns(["id", "label", "source"], {"id": "id", "label": "label"}, by_id=True)
        ('id', 'source')
    """
    apart = {roles[role] for role in APART if role in roles}
    found = {name for name in names if name not in apart}
    without_id = found - {roles.get("id", "")} if "id" in roles else found
    return tuple(sorted(found if by_id or not without_id else without_id))


def row_digests(table: pa.Table, content: Sequence[str], positions: NDArray[np.int64]) -> Digests:
    """`(n, 32) uint8`: SHA-256 of each row's cells with the names of their columns.

    Order of rows, order of columns and format of the file do not matter: a cell counts by its text (see `as_text`),
    so that 1.5 in Parquet is 1.5 in CSV, and an empty cell is a missing value.

    Args:
        content: columns that count, in alphabetical order; without any, a row is known by its position.
        positions: `(n,)` of the rows in their file.
    """
    found = np.empty((len(table), DIGEST_BYTES), dtype=np.uint8)
    sha256 = hashlib.sha256
    for begin in range(0, len(table), ROWS_TOGETHER):
        if content:
            cells: Iterator[bytes | memoryview] = _cells(table.slice(begin, ROWS_TOGETHER), content)
        else:
            cells = iter([b"row %d" % position for position in positions[begin : begin + ROWS_TOGETHER].tolist()])
        digests = b"".join([sha256(row).digest() for row in cells])
        found[begin : begin + ROWS_TOGETHER] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    return found


def _cells(part: pa.Table, content: Sequence[str]) -> Iterator[bytes | memoryview]:
    """Of each row the cells, each behind its length, so that no two rows have the same bytes."""
    # Names are the same in all rows: their digest stands for them.
    names = "".join(f"{len(name.encode())}:{name}" for name in content)
    pieces: list[Any] = [pa.scalar(hashlib.sha256(names.encode()).hexdigest()[:16], TEXT)]
    for name in content:
        text = as_text(one_array(part.column(name)))
        pieces += [pc.binary_length(text).cast(TEXT), text]
    joined = pc.binary_join_element_wise(*pieces, pa.scalar(":", TEXT))
    _, offsets, data = joined.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[joined.offset : joined.offset + len(joined) + 1].tolist()
    cells = memoryview(data)
    return (cells[begin:end] for begin, end in itertools.pairwise(ends))
