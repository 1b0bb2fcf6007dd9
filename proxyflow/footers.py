"""What a Parquet file says of itself, read without Arrow: from Python, Arrow ends the process at some damaged footers.

A footer is one structure in Thrift's compact protocol (its specification: thrift-compact-protocol.md in apache/thrift;
the fields: parquet.thrift in apache/parquet-format). Only what bounds are checked by is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 32 * 2**20
DEEPEST = 16
CODECS = {0: "UNCOMPRESSED", 1: "SNAPPY", 2: "GZIP", 3: "LZO", 4: "BROTLI", 5: "LZ4", 6: "ZSTD", 7: "LZ4_RAW"}
INT64, DOUBLE = 2, 5  # physical types of one width


@dataclass(frozen=True)
class Chunk:
    """A column's part of a group of rows.

    Attributes:
        column: its path, as `image.bytes`.
        fixed_width: each value takes 8 bytes.
        compressed: its size in bytes.
    """

    column: str
    fixed_width: bool
    codec: str
    values: int
    compressed: int


@dataclass(frozen=True)
class Group:
    """Some of the rows."""

    rows: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Footer:
    """What a file says of itself."""

    rows: int
    groups: tuple[Group, ...]


def read_footer(path: Path, size: int) -> Footer:
    """Reads the footer of a file of so many bytes.

    Raises:
        OSError: it is not there.
        ValueError: it has none, or one that is damaged or larger than any of ours.
    """
    if size < 12:
        raise ValueError(f"it is no Parquet file: it has {size} bytes")
    with path.open("rb") as file:
        file.seek(size - 8)
        length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
        if magic != b"PAR1":
            raise ValueError("it is no whole Parquet file: it does not end as one")
        most = min(size - 12, LARGEST)
        if length > most:
            raise ValueError(f"its footer would have {length:,} bytes; at most {most:,} can be")
        file.seek(size - 8 - length)
        data = file.read(length)
    try:
        told = _Thrift(data).struct(0)
        return Footer(_int(told, 3), tuple(map(_group, _list(told, 4))))
    except (IndexError, KeyError, TypeError, UnicodeDecodeError):
        raise ValueError("its footer is damaged") from None


def _group(told: Any) -> Group:
    return Group(_int(told, 3), tuple(_chunk(chunk[3]) for chunk in _list(told, 1)))


def _chunk(told: Any) -> Chunk:
    column = ".".join(bytes(part).decode() for part in _list(told, 3))
    codec = CODECS.get(_int(told, 4), "an unknown codec")
    return Chunk(column, _int(told, 1) in (INT64, DOUBLE), codec, _int(told, 5), _int(told, 7))


def _int(told: Any, number: int) -> int:
    value = told[number]
    if type(value) is not int:
        raise TypeError(value)
    return value


def _list(told: Any, number: int) -> list[Any]:
    value = told[number]
    if not isinstance(value, list):
        raise TypeError(value)
    return value


class _Thrift:
    """A reader of Thrift's compact protocol: structures become dictionaries by the numbers of their fields."""

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
                raise ValueError("its footer says something twice")
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
        raise ValueError("its footer is damaged")

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
        """An item takes a byte at least."""
        if count > len(self.data) - self.at or depth > DEEPEST:
            raise ValueError("its footer is damaged")

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise ValueError("its footer is damaged")
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
                raise ValueError("its footer is damaged")

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)
