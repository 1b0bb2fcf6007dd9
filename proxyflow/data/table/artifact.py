"""How a subset keeps rows in Parquet: all columns of the table with their types, and each row's place in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Rule
from proxyflow.core.validation import Entries, Fields, Items, Text
from proxyflow.data.modality import KEYS
from proxyflow.data.options import DataOptions
from proxyflow.data.protocol import Examples
from proxyflow.data.table.columns import TEXT, TYPES, as_text, kind_of, one_array
from proxyflow.data.table.formats import formats
from proxyflow.data.table.identity import row_digests
from proxyflow.data.table.store import TableSet, TableStore, rows_of

ROW = "row"  # each row's place in its file
LONGEST, MOST = 500, 10_000
NAME = Text(LONGEST)
COLUMN = Fields({"name": NAME, "stored": NAME, "type": Choice(tuple(TYPES))})
RULES: Mapping[str, Rule] = {
    "columns": Items(COLUMN, fewest=1, most=MOST),
    "roles": Entries(NAME, NAME, most=100),
    "content": Items(NAME, most=MOST),
    "format": Choice(("", *formats)),
}
# `datasets` calls types as NumPy does, and so do most names in `TYPES`.
FEATURES = {"text": "string", "date": "date32"}


@dataclass(frozen=True)
class Column:
    """A column of a table as a subset keeps it.

    Attributes:
        name: its own name.
        stored: its name in the subset's files, where some names are taken.
        type: a name in `TYPES`.
    """

    name: str
    stored: str
    type: str

    @property
    def is_list(self) -> bool:
        """Lists are stored as JSON, so that every column has a value for each row."""
        return bool(pa.types.is_list(TYPES[self.type]))

    @property
    def stored_type(self) -> pa.DataType:
        """The type in the files."""
        return pa.string() if self.is_list or TYPES[self.type] == TEXT else TYPES[self.type]


@dataclass(frozen=True)
class RowCodec:
    """Rows with all columns of their table.

    Attributes:
        table: its columns, in order.
        roles, content, format: as of `TableStore`.
    """

    table: tuple[Column, ...]
    roles: Mapping[str, str]
    content: tuple[str, ...]
    format: str

    rows_together: ClassVar[int] = 10_000
    written_by: ClassVar[str] = ""

    @staticmethod
    def of(store: TableStore) -> RowCodec:
        """That of a table."""
        names, taken, columns = store.table.column_names, {*KEYS, ROW}, []
        for name, column in zip(names, store.table.columns, strict=True):
            # A dot would be a structure's.
            stored = name.replace(".", "_") or "column"
            while stored in taken:
                stored += "_"
            taken.add(stored)
            columns.append(Column(name, stored, kind_of(column)))
        return RowCodec(tuple(columns), store.roles, store.content, store.format)

    @staticmethod
    def from_manifest(manifest: Mapping[str, Any]) -> RowCodec:
        """See `Modality.codec_from`."""
        entries = Fields(RULES).parse("", manifest)
        columns = tuple(Column(**column) for column in entries["columns"])
        names, stored = ([getattr(column, name) for column in columns] for name in ("name", "stored"))
        content = entries["content"]
        for name, value, holds, rule in (
            ("columns", names, len(set(names)) == len(names), "each name must occur once"),
            (
                "columns",
                stored,
                len({*stored, *KEYS, ROW}) == len(stored) + len(KEYS) + 1,
                "each must have its own name",
            ),
            ("columns", stored, not any("." in each or not each for each in stored), "a stored name has no dot"),
            ("roles", entries["roles"], set(entries["roles"].values()) <= set(names), "each must be a column"),
            ("content", list(content), set(content) <= set(names), "each must be a column"),
            ("content", list(content), list(content) == sorted(set(content)), "each must occur once, in order"),
        ):
            if not holds:
                raise InvalidValue(name, value, rule)
        return RowCodec(columns, entries["roles"], content, entries["format"])

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([*((column.stored, column.stored_type) for column in self.table), (ROW, pa.int64())])

    @property
    def leaves(self) -> Sequence[str]:
        return tuple(self.schema.names)

    @property
    def features(self) -> Mapping[str, Any]:
        named = {
            column.stored: "string" if column.is_list else FEATURES.get(column.type, column.type)
            for column in self.table
        }
        return {name: {"dtype": kind, "_type": "Value"} for name, kind in {**named, ROW: "int64"}.items()}

    @property
    def entries(self) -> dict[str, Any]:
        return {
            "columns": [{"name": each.name, "stored": each.stored, "type": each.type} for each in self.table],
            "roles": dict(self.roles),
            "content": list(self.content),
            "format": self.format,
        }

    def columns(self, part: str, examples: Examples, rows: slice) -> dict[str, pa.Array]:
        chosen = rows_of(examples)
        places = pa.array(chosen.rows[rows])
        found = {ROW: pa.array(chosen.positions[rows])}
        for column in self.table:
            values = one_array(chosen.store.table.column(column.name)).take(places)
            if column.is_list:
                text = as_text(values).to_pylist()
                values = pa.array([cell or None for cell in text], pa.string())
            found[column.stored] = values.cast(column.stored_type)
        return found

    def reader(self, options: DataOptions) -> RowReader:
        return RowReader(self)

    def preprocessing(self, valid: Examples, options: DataOptions) -> None:
        return None


class RowReader:
    """Reads the rows of a subset's parts."""

    def __init__(self, codec: RowCodec) -> None:
        self.codec = codec
        self.batches: list[pa.RecordBatch] = []
        self.read = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if batch[ROW].null_count:
            raise ValueError(f"column {ROW} lacks {batch[ROW].null_count} of its values")
        if len(batch) and (least := int(batch[ROW].to_numpy().min())) < 0:
            raise ValueError(f"row {least} is below 0")
        arrays = [self._column(column, batch[column.stored]) for column in self.codec.table]
        self.batches.append(pa.record_batch([*arrays, batch[ROW]], names=[str(n) for n in range(len(arrays) + 1)]))
        self.read += len(batch)

    def _column(self, column: Column, values: pa.Array) -> pa.Array:
        kind = TYPES[column.type]
        if not column.is_list:
            if kind == TEXT:
                values.validate(full=True)  # Parquet does not say that its text is UTF-8
            return values.cast(kind)
        cells = []
        for place, text in enumerate(values.to_pylist()):
            try:
                cells.append(None if text is None else pa.scalar(_numbers(json.loads(text)), kind))
            except (ValueError, TypeError, OverflowError, RecursionError, pa.ArrowException):
                rule = f"column {column.stored}, row {self.read + place:,}: it must be a list of numbers"
                raise ValueError(rule) from None
        return pa.array(cells, kind)

    def examples(self, labels: NDArray[np.int64], ids: NDArray[np.int64]) -> TableSet:
        """The rows as they are known by their content."""
        arrays = [one_array(column) for column in pa.Table.from_batches(self.batches).columns]
        self.batches, self.read = [], 0
        positions = np.asarray(arrays.pop().to_numpy(zero_copy_only=False), dtype=np.int64)
        table = pa.table(arrays, names=[column.name for column in self.codec.table])
        digests = row_digests(table, self.codec.content, positions)
        store = TableStore(table, digests, positions, self.codec.roles, self.codec.content, self.codec.format)
        return TableSet(store, np.arange(len(store), dtype=np.int64), labels, ids)


def _numbers(cell: object) -> list[int | float | None]:
    if not isinstance(cell, list) or any(type(value) not in (int, float, type(None)) for value in cell):
        raise ValueError("no list of numbers")
    return cell
