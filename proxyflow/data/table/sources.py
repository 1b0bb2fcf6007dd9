"""Tables as data sets: `index:FILE` and `table:FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import proxyflow.data.table.modality  # noqa: F401  (registers what rows are)
from proxyflow.core.registry import Registry
from proxyflow.data.options import DataOptions
from proxyflow.data.protocol import Contents, Say, datasets
from proxyflow.data.table.spelling import USUAL, TableName, parse_table_name

if TYPE_CHECKING:
    import pyarrow as pa


class FileColumn(Protocol):
    """How the files that a column names are loaded as examples of another modality."""

    def load(self, name: str, index: Index, options: DataOptions, say: Say) -> Contents:
        """Loads them, see `protocol.Source.load`."""
        ...


file_columns: Registry[FileColumn] = Registry("column of files")


@dataclass(frozen=True, eq=False)
class Index:
    """A table of which a column names files.

    Attributes:
        kind: the source's name, for messages.
        name: its file and columns.
        table: all of its columns.
    """

    kind: str
    name: TableName
    table: pa.Table


@dataclass(frozen=True)
class Tables:
    """A source of rows of a file.

    Attributes:
        kind: its name in the catalog.
        description: what it is, for people.
        more: roles beside the usual ones.
        by_id: an id stands for an example that is elsewhere.
    """

    kind: str
    description: str
    more: tuple[str, ...]
    by_id: bool
    takes_path: bool = True

    @property
    def roles(self) -> Sequence[str]:
        """All roles that a column may be named for."""
        return (*USUAL, *self.more, *(file_columns if self.by_id else ()))

    def canonical_path(self, path: str) -> str:
        """See `protocol.Source`."""
        from proxyflow.data.table.formats import format_of  # imports pyarrow

        name = parse_table_name(path, self.roles)
        format_of(name.file)
        if not Path(name.file).is_file():
            where = "" if name.file == path else f" {name.file}"
            raise ValueError(f"there is no such file{where}")
        return name.text

    def load(self, name: str, path: str, options: DataOptions, say: Say) -> Contents:
        """Reads the file, see `protocol.Source`."""
        from proxyflow.data.table.contents import Place, contents_from, find_roles  # imports pyarrow
        from proxyflow.data.table.formats import format_of, read_table

        table_name = parse_table_name(path, self.roles)
        table = read_table(Path(table_name.file))
        for role in file_columns:
            if table_name.named.get(role):
                return file_columns[role].load(name, Index(self.kind, table_name, table), options, say)
        place = Place(table_name.file, f"{self.kind}:{table_name.file}[{{}}]")
        roles = find_roles(table.column_names, table_name.named, place)
        return contents_from(table, roles, place, self.by_id, format_of(table_name.file))


COLUMNS = "a column label, and where there are any id, split (train, valid) and group; other names go in brackets"

datasets.add(
    "index",
    Tables(
        "index",
        f"a list of your own examples, a CSV, TSV, Parquet or JSON-lines file with {COLUMNS}: [label=species,id=uuid]; "
        "with [image=COLUMN] the column names image files, relative to the file's folder",
        (),
        by_id=True,
    ),
)
datasets.add(
    "table",
    Tables(
        "table",
        f"your own rows of text or features, a CSV, TSV, Parquet or JSON-lines file with {COLUMNS}: "
        "[text=body,label=stars]",
        ("text",),
        by_id=False,
    ),
)
