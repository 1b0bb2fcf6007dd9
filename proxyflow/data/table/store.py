"""Rows of a table as examples: every subset is an index into one shared table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.data.content import Digests, hexadecimal
from proxyflow.data.protocol import Examples, Positions
from proxyflow.data.table.arrays import table_of
from proxyflow.data.table.columns import as_text, one_array
from proxyflow.data.table.identity import content_columns, row_digests
from proxyflow.data.table.spelling import MODALITY


@dataclass(frozen=True, eq=False)
class TableStore:
    """A table in memory, with what its columns are for.

    Attributes:
        table: all columns under their own names and in their own order, each one array of a type in `columns.TYPES`.
        digests: `(n, 32) uint8`, see `identity.row_digests`.
        positions: `(n,) int64`, each row's place in its file, from 0.
        roles: role (`label`, `id`, `split`, `group`, `text`, ...) to column.
        content: the columns that digests are of, in alphabetical order.
        format: of the file, a name in `formats.formats`; empty for data in memory.
    """

    table: pa.Table = field(repr=False)
    digests: Digests = field(repr=False)
    positions: NDArray[np.int64] = field(repr=False)
    roles: Mapping[str, str]
    content: tuple[str, ...]
    format: str = ""

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def groups(self) -> NDArray[Any] | None:
        """`(n,)` the text of each row's group, None without groups; rows of a group share one string."""
        if "group" not in self.roles:
            return None
        named = as_text(one_array(self.table.column(self.roles["group"]))).dictionary_encode()
        names = named.dictionary.to_numpy(zero_copy_only=False)
        return np.asarray(names[named.indices.to_numpy(zero_copy_only=False)])


def store_of(
    table: pa.Table, roles: Mapping[str, str], positions: NDArray[np.int64], by_id: bool = False, format: str = ""
) -> TableStore:
    """A store whose digests are computed.

    Args:
        table: its columns are of types in `columns.TYPES`.
        by_id: see `identity.content_columns`.
    """
    content = content_columns(table.column_names, roles, by_id)
    return TableStore(table, row_digests(table, content, positions), positions, roles, content, format)


@dataclass(frozen=True, eq=False)
class TableSet:
    """Some rows of a table with their labels.

    Attributes:
        store: where the columns are.
        rows: `(n,) int64`, which of the store's rows these are.
        labels: `(n,) int64`, index into the data set's class names.
        ids: `(n,) int64`, position in the data set's own order.
    """

    store: TableStore = field(repr=False)
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]

    modality: ClassVar[str] = MODALITY

    def __post_init__(self) -> None:
        assert self.rows.shape == self.labels.shape == self.ids.shape, "one label and id per row"

    def __len__(self) -> int:
        return len(self.rows)

    @staticmethod
    def of(labels: Any, columns: Any = None, ids: Any = None, groups: Any = None) -> TableSet:
        """Rows from arrays in memory.

        Args:
            labels: `(n,)` numbers of the classes.
            columns: a data frame, or a mapping of names to `(n,)` values.
            ids: `(n,)`, what the user calls the rows.
            groups: `(n,)`, whose members stay on one side of a split.

        Raises:
            InvalidValue: the arrays are of different lengths, or hold values that no table has.

        Example:
            >>> rows = TableSet.of([0, 1, 0], {"text": ["good", "bad", "fine"]})
            >>> rows.take(np.array([2, 0])).table.to_pydict()["text"]
            ['fine', 'good']
        """
        given = {"label": labels, "id": ids, "group": groups}
        table = table_of(columns, {role: values for role, values in given.items() if values is not None})
        roles = {role: role for role, values in given.items() if values is not None}
        rows = np.arange(len(table), dtype=np.int64)
        return TableSet(store_of(table, roles, rows), rows, np.asarray(labels, dtype=np.int64), rows)

    @property
    def digests(self) -> Digests:
        """`(n, 32) uint8`, SHA-256 of each row's content."""
        return self.store.digests[self.rows]

    @property
    def content_hashes(self) -> NDArray[np.str_]:
        """`(n,)` the digests in hexadecimal: 256 bytes a row, made each time it is asked for."""
        return hexadecimal(self.digests)

    @property
    def groups(self) -> NDArray[Any] | None:
        """`(n,)` the text of each row's group; None without groups."""
        return None if self.store.groups is None else self.store.groups[self.rows]

    @property
    def positions(self) -> NDArray[np.int64]:
        """`(n,) int64`, each row's place in its file, from 0."""
        return self.store.positions[self.rows]

    @property
    def identifiers(self) -> NDArray[Any]:
        """`(n,)` what the user calls the rows: their ids, else their places in the file."""
        if "id" not in self.store.roles:
            return self.positions
        column = self.store.table.column(self.store.roles["id"])
        return np.asarray(column.take(pa.array(self.rows)).to_numpy(zero_copy_only=False))

    @property
    def table(self) -> pa.Table:
        """A copy of the rows, with all columns of the file."""
        return self.store.table.take(pa.array(self.rows))

    def take(self, positions: Positions) -> TableSet:
        """The examples at `positions` (indices or a mask), in that order; no column is copied."""
        return TableSet(self.store, self.rows[positions], self.labels[positions], self.ids[positions])

    def with_ids(self, ids: NDArray[np.int64]) -> TableSet:
        """The same rows under other ids."""
        return dataclasses.replace(self, ids=ids)


def rows_of(examples: Examples) -> TableSet:
    """Examples as rows of a table.

    Raises:
        InvalidValue: they are of another modality.
    """
    if not isinstance(examples, TableSet):
        raise InvalidValue(
            "modality", examples.modality, "this takes rows of a table; use a data set of index: or table:"
        )
    return examples
