"""Reads Parquet footers without Arrow, because Arrow aborts the whole process on some corrupt footers.

A footer is one struct in Thrift's compact protocol (thrift-compact-protocol.md in apache/thrift; fields: parquet.thrift
in apache/parquet-format). Only the fields that validation needs are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 32 * 2**20
DEEPEST = 16
CODECS = {0: "UNCOMPRESSED", 1: "SNAPPY", 2: "GZIP", 3: "LZO", 4: "BROTLI", 5: "LZ4", 6: "ZSTD", 7: "LZ4_RAW"}
NUMBERS = (1, 2, 4, 5)  # physical types of 4 or 8 bytes: INT32, INT64, FLOAT, DOUBLE


@dataclass(frozen=True)
class ColumnChunk:
    """A column chunk: one column of a row group.

    Attributes:
        column: path of the column, such as `image.bytes`.
        fixed_width: whether each value takes 8 bytes or less.
        codec: name of the compression codec.
        values: number of values.
        compressed: compressed size in bytes.
    """

    column: str
    fixed_width: bool
    codec: str
    values: int
    compressed: int


@dataclass(frozen=True)
class RowGroup:
    """A row group."""

    rows: int
    chunks: tuple[ColumnChunk, ...]


@dataclass(frozen=True)
class Footer:
    """The footer of a file."""

    rows: int
    groups: tuple[RowGroup, ...]


def read_footer(path: Path, size: int) -> Footer:
    """Reads the footer of a file of `size` bytes.

    Raises:
        OSError: the file does not exist.
        ValueError: it has no footer, or one that is corrupt or too large.
    """
    if size < 12:
        raise ValueError(f"not a Parquet file: it has {size} bytes")
    with path.open("rb") as file:
        file.seek(size - 8)
        length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
        if magic != b"PAR1":
            raise ValueError("truncated, or not a Parquet file (no footer)")
        most = min(size - 12, LARGEST)
        if length > most:
            raise ValueError(f"its footer claims {length:,} bytes; at most {most:,} are possible")
        file.seek(size - 8 - length)
        data = file.read(length)
    try:
        fields = _Thrift(data).struct(0)
        return Footer(_int(fields, 3), tuple(map(_group, _list(fields, 4))))
    except (IndexError, KeyError, TypeError, UnicodeDecodeError):
        raise ValueError("its footer is corrupt") from None


def _group(fields: Any) -> RowGroup:
    return RowGroup(_int(fields, 3), tuple(_chunk(chunk[3]) for chunk in _list(fields, 1)))


def _chunk(fields: Any) -> ColumnChunk:
    column = ".".join(bytes(part).decode() for part in _list(fields, 3))
    codec = CODECS.get(_int(fields, 4), "an unknown codec")
    return ColumnChunk(column, _int(fields, 1) in NUMBERS, codec, _int(fields, 5), _int(fields, 7))


def _int(fields: Any, number: int) -> int:
    value = fields[number]
    if type(value) is not int:
        raise TypeError(value)
    return value


def _list(fields: Any, number: int) -> list[Any]:
    value = fields[number]
    if not isinstance(value, list):
        raise TypeError(value)
    return value


class _Thrift:
    """Decodes Thrift's compact protocol; a struct becomes a dictionary by field number."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.at = 0

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > DEEPEST:
            raise ValueError("its footer is nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while (head := self.byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self.integer()
            kind = head & 0x0F
            value = kind == 1 if kind in (1, 2) else self.value(kind, depth)
            if number in found:
                raise ValueError("its footer repeats a field")
            found[number] = value
        return found

    def value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):
            return self.byte()
        if kind in (4, 5, 6):
            return self.integer()
        if kind in (7, 13):
            return self.take(8 if kind == 7 else 16)
        if kind == 8:
            return self.take(self.varint())
        if kind in (9, 10):
            return self.items(depth + 1)
        if kind == 11:
            return self.entries(depth + 1)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("its footer is corrupt")

    def items(self, depth: int) -> list[Any]:
        head = self.byte()
        count = head >> 4 if head >> 4 < 15 else self.varint()
        self.check(count, depth)
        return [self.value(head & 0x0F, depth) for _ in range(count)]

    def entries(self, depth: int) -> list[tuple[Any, Any]]:
        count = self.varint()
        kinds = self.byte() if count else 0
        self.check(count, depth)
        return [(self.value(kinds >> 4, depth), self.value(kinds & 0x0F, depth)) for _ in range(count)]

    def check(self, count: int, depth: int) -> None:
        """Rejects impossible counts (an item takes at least one byte) and deep nesting."""
        if count > len(self.data) - self.at or depth > DEEPEST:
            raise ValueError("its footer is corrupt")

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise ValueError("its footer is corrupt")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("its footer is corrupt")

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)
