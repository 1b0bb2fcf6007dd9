"""Formats of table files: how each is read without losing anything, and written."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from proxyflow.core.errors import UNPRINTABLE, InvalidValue, one_line, shortened
from proxyflow.core.parquet_metadata import read_footer
from proxyflow.core.registry import Registry
from proxyflow.data.table.columns import TEXT, as_text, one_array, target_type

COMPRESSIONS = (".gz", ".bz2", ".zst")
LARGEST_ROW = 16 * 2**20  # bytes of a line of JSON, and of a row of CSV
ROWS_WRITTEN_TOGETHER = 65_536


class Format(Protocol):
    """How tables are kept in files.

    Attributes:
        suffixes: of its files; a table is written with the first.
        compressed: its files may be compressed as a whole.
    """

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    @property
    def compressed(self) -> bool: ...

    def read(self, path: Path) -> pa.Table:
        """Reads a file; its columns are of any types.

        Raises:
            ValueError, OSError, pa.ArrowException: it is not of this format; the message names the row, or the line of
                the file, where one is to blame.
        """
        ...

    def write(self, table: pa.Table, path: Path) -> None:
        """Writes a table with columns of types in `columns.TYPES`."""
        ...


formats: Registry[Format] = Registry("format of tables")


def suffix_of(path: str) -> str:
    """The suffix that decides the format, without that of a compression: `.csv` of `a.csv.gz`."""
    plain = Path(path)
    return (plain.with_suffix("") if plain.suffix.lower() in COMPRESSIONS else plain).suffix.lower()


def format_of(path: str) -> str:
    """The name of a file's format.

    Raises:
        ValueError: its suffix is none of a format.

    Example:
        >>> format_of("data/reviews.csv.gz")
        'csv'
    """
    suffix, compressed = suffix_of(path), Path(path).suffix.lower() in COMPRESSIONS
    for name, each in formats.items():
        if suffix in each.suffixes and (each.compressed or not compressed):
            return name
    known = ", ".join(suffix for each in formats.values() for suffix in each.suffixes)
    given = f"its suffix {suffix}" if suffix else "a file without a suffix"
    hint = "; a JSON file needs one object per line, and is then called .jsonl" if suffix == ".json" else ""
    raise ValueError(f"{given} says no format; accepted are {known} (text also with {', '.join(COMPRESSIONS)}){hint}")


def read_table(path: Path) -> pa.Table:
    """Reads a file of a table, each column as one array of a type in `columns.TYPES`.

    Raises:
        InvalidValue: it is missing, empty, damaged, or has columns that cannot be used.
    """
    try:
        if not path.is_file():
            raise InvalidValue("dataset", path, "there is no such file")
        if path.stat().st_size == 0:
            raise InvalidValue("dataset", path, "the file is empty (0 bytes)")
        table = formats[format_of(str(path))].read(path)
        for column in table.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column.validate(full=True)  # of these formats, only CSV is checked to be UTF-8 when it is read
    except (ValueError, OSError, EOFError, pa.ArrowException) as error:
        line = _undecodable_line(path)
        reason = f"line {line} is not UTF-8; save the file as UTF-8" if line else _plain(error)
        raise InvalidValue("dataset", path, f"it cannot be read: {reason}") from None
    check_names(table.column_names, str(path))
    if not len(table):
        raise InvalidValue("dataset", path, "it has columns, but no rows")
    return usual_types(table, str(path))


def check_names(names: list[str], where: str) -> None:
    """Checks the names of a table's columns.

    Raises:
        InvalidValue: two are the same, or one cannot be used.
    """
    if not names:
        raise InvalidValue("dataset", where, "it has no columns")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        places = [str(place) for place, each in enumerate(names, start=1) if each == name]
        raise InvalidValue("column", name, f"columns {' and '.join(places)} of {where} have this name; rename one")
    for name in names:
        if UNPRINTABLE.search(name) or len(name) > 500:
            rule = f"a column of {where} has this name; names have at most 500 characters and no control characters"
            raise InvalidValue("column", name, rule)


def usual_types(table: pa.Table, where: str) -> pa.Table:
    """The table with each column as one array of a type in `columns.TYPES`.

    Raises:
        InvalidValue: a column is of another type, or has a value that its type here cannot hold.
    """
    columns, names = table.columns, table.column_names
    del table  # so that each column is freed once it is converted
    for place, name in enumerate(names):
        column, kind = columns[place], target_type(columns[place].type)
        if kind is None:
            rule = (
                f"this column of {where} is of type {column.type}; text, numbers, dates, times, true and false, and "
                "lists of numbers can be used: leave it out of the file, or convert it"
            )
            raise InvalidValue("column", name, rule)
        try:
            columns[place] = one_array(column if column.type.equals(kind) else column.cast(kind))
        except pa.ArrowException as error:
            raise InvalidValue("column", name, f"this column of {where} cannot be used: {_plain(error)}") from None
        del column
    return pa.table(columns, names=names)


@contextmanager
def _opened(path: Path) -> Iterator[pa.NativeFile]:
    with pa.input_stream(str(path), compression="detect") as stream:
        yield stream


def _plain(error: BaseException) -> str:
    return shortened(one_line(error), 400)


def _undecodable_line(path: Path) -> int:
    """The first line of a text file that is not UTF-8, from 1; 0 if there is none, or the file is no text."""
    if not formats[format_of(str(path))].compressed:
        return 0
    try:
        with _opened(path) as stream, io.BufferedReader(stream) as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return number
    except (OSError, ValueError, EOFError, pa.ArrowException):
        pass  # the file is damaged in another way, which is reported
    return 0


@dataclass(frozen=True)
class Delimited:
    """Text with a separator, as Python's `csv` reads it: a first row of names, and every cell as it is written.

    Cells stay text: 007, 1.50 and 1e5 would not be the same after they were read as numbers and written again.
    """

    separator: str
    suffixes: tuple[str, ...]
    compressed: bool = True

    def read(self, path: Path) -> pa.Table:
        with _opened(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            names = next(csv.reader(text, delimiter=self.separator), [])
        if not names:
            raise ValueError("its first line is empty; it must have the names of the columns")
        check_names(names, str(path))
        try:
            with _opened(path) as stream:
                return pyarrow.csv.read_csv(
                    stream,
                    # With threads, errors do not name their row.
                    pyarrow.csv.ReadOptions(use_threads=False, block_size=LARGEST_ROW),
                    pyarrow.csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                    pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, TEXT), strings_can_be_null=False),
                )
        except pa.ArrowInvalid as error:
            # Arrow counts the names as row 1; here rows are counted below the names.
            reason = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 1:,}", str(error))
            raise ValueError(reason) from None

    def write(self, table: pa.Table, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            writer.writerow(table.column_names)
            for begin in range(0, len(table), ROWS_WRITTEN_TOGETHER):
                part = table.slice(begin, ROWS_WRITTEN_TOGETHER)
                writer.writerows(zip(*(as_text(one_array(column)).to_pylist() for column in part.columns), strict=True))


@dataclass(frozen=True)
class JsonLines:
    """One JSON object per line; text that looks like a time stays text."""

    suffixes: tuple[str, ...] = (".jsonl", ".ndjson")
    compressed: bool = True

    def read(self, path: Path) -> pa.Table:
        try:
            table = self._read(path, [])
            times = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
            return self._read(path, times).select(table.column_names) if times else table
        except pa.ArrowException as error:
            if line := self._broken_line(path):
                raise ValueError(line) from None
            raise ValueError(_plain(error)) from None

    def _read(self, path: Path, text: list[str]) -> pa.Table:
        with _opened(path) as stream:
            return pyarrow.json.read_json(
                stream,
                pyarrow.json.ReadOptions(use_threads=False, block_size=LARGEST_ROW),
                pyarrow.json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in text])),
            )

    def _broken_line(self, path: Path) -> str:
        """What is wrong with the first line that is no object, or has a column of another type than before."""
        seen: dict[str, tuple[str, int]] = {}
        with _opened(path) as stream, io.BufferedReader(stream) as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line) if line.strip() else {}
                except ValueError as error:
                    return f"line {number} is not JSON ({error})"
                if not isinstance(row, dict):
                    return f'line {number} is not an object such as {{"text": "...", "label": "..."}}'
                for name, value in row.items():
                    if value is None:
                        continue
                    kind, first = seen.setdefault(name, (_json_type(value), number))
                    if kind != _json_type(value):
                        return f"column {name} is {kind} in line {first} and {_json_type(value)} in line {number}"
        return ""

    def write(self, table: pa.Table, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for begin in range(0, len(table), ROWS_WRITTEN_TOGETHER):
                part = _json_columns(table.slice(begin, ROWS_WRITTEN_TOGETHER))
                file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in part.to_pylist())


def _json_type(value: object) -> str:
    for kind, name in ((bool, "a boolean"), ((int, float), "a number"), (str, "text"), (list, "a list")):
        if isinstance(value, kind):
            return name
    return "an object"


def _json_columns(part: pa.Table) -> pa.Table:
    """The table with times as text, for which JSON has no type."""
    columns = [as_text(one_array(column)) if pa.types.is_temporal(column.type) else column for column in part.columns]
    return pa.table(columns, names=part.column_names)


@dataclass(frozen=True)
class Parquet:
    """Parquet, whose columns have types."""

    suffixes: tuple[str, ...] = (".parquet", ".pq")
    compressed: bool = False

    def read(self, path: Path) -> pa.Table:
        read_footer(path, path.stat().st_size)  # Arrow ends the process at some damaged ones
        with pq.ParquetFile(path) as file:
            return file.read(use_threads=False)

    def write(self, table: pa.Table, path: Path) -> None:
        pq.write_table(table, path)


formats.add("csv", Delimited(",", (".csv",)))
formats.add("tsv", Delimited("\t", (".tsv", ".tab")))
formats.add("jsonl", JsonLines())
formats.add("parquet", Parquet())
