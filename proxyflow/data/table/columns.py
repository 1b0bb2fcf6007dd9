"""Columns of a table: the types that are read, and the text of a cell, which decides what is equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

TIMES = {f"timestamp[{unit}{zone}]": (unit, zone) for unit in ("ms", "us", "ns") for zone in ("", ", tz=UTC")}
# Text of any length in all: 32-bit offsets end at 2 GB.
TEXT = pa.large_string()
# All that tables hold once they are read, by the names that manifests use.
TYPES: Mapping[str, pa.DataType] = {
    "text": TEXT,
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    **{name: pa.timestamp(unit, "UTC" if zone else None) for name, (unit, zone) in TIMES.items()},
    "list of int64": pa.list_(pa.int64()),
    "list of float64": pa.list_(pa.float64()),
}


def kind_of(column: pa.ChunkedArray | pa.Array) -> str:
    """The name in `TYPES` of a column's type."""
    return next(name for name, kind in TYPES.items() if kind.equals(column.type))


def target_type(kind: pa.DataType) -> pa.DataType | None:
    """The type in `TYPES` that a column of a file is converted to; None where there is none."""
    types = pa.types
    if types.is_dictionary(kind):
        return target_type(kind.value_type)
    if types.is_null(kind) or types.is_decimal(kind) or types.is_string(kind) or types.is_string_view(kind):
        return TEXT
    if types.is_integer(kind):
        return pa.int64()
    if types.is_float16(kind):
        return pa.float32()
    if types.is_date(kind):
        return pa.date32()
    if types.is_timestamp(kind):
        return pa.timestamp("ms" if kind.unit == "s" else kind.unit, "UTC" if kind.tz else None)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        of = kind.value_type
        return (
            pa.list_(pa.int64()) if types.is_integer(of) else pa.list_(pa.float64()) if types.is_floating(of) else None
        )
    return kind if any(kind.equals(known) for known in TYPES.values()) else None


def as_text(column: pa.Array) -> pa.Array:
    """The text of each cell, as pandas writes it to CSV; empty where there is no value.

    Text is itself. A number is the shortest text that reads as the same number, with `.0` where it is whole and of a
    floating-point type; NaN is no value. A time ends with its last digit that is not 0.

    Args:
        column: one array of a type in `TYPES`.

    Example:
        >>> as_text(pa.array([1.5, 3.0, None, float("nan")])).to_pylist()
        ['1.5', '3.0', '', '']
        >>> as_text(pa.array([True, None])).to_pylist()
        ['True', '']
    """
    kind = column.type
    if pa.types.is_large_string(kind):
        text = column
    elif pa.types.is_floating(kind):
        text = _floats(column)
    elif pa.types.is_boolean(kind):
        text = pc.if_else(column, pa.scalar("True", TEXT), pa.scalar("False", TEXT))
    elif pa.types.is_timestamp(kind):
        plain = column.cast(pa.timestamp(kind.unit)) if kind.tz else column
        text = _times(plain.cast(TEXT))
        text = pc.binary_join_element_wise(text, pa.scalar("+00:00", TEXT), pa.scalar("", TEXT)) if kind.tz else text
    elif pa.types.is_list(kind):
        text = pa.array([None if cell is None else json.dumps(cell) for cell in column.to_pylist()], TEXT)
    else:
        text = column.cast(TEXT)
    return text.fill_null("") if text.null_count else text


def _floats(column: pa.Array) -> pa.Array:
    missing = pc.fill_null(pc.is_nan(column), True).to_numpy(zero_copy_only=False)
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    # `repr` is the shortest text by definition, whatever the version of a library; NumPy has it for 32 bits.
    text = values.astype(str).tolist() if values.dtype == np.float32 else [repr(value) for value in values.tolist()]
    return pa.array(text, TEXT, mask=missing)


def _times(text: pa.Array) -> pa.Array:
    """Times without zeros at the end of the fraction, and without its point where nothing is left."""
    return pc.replace_substring_regex(pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1"), r"\.$", "")


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, without copying where it is one."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([*column.chunks, pa.array([], column.type)])


def text_of(table: pa.Table, name: str) -> NDArray[Any]:
    """`(n,)` the text of each cell of a column, see `as_text`."""
    return np.asarray(as_text(one_array(table.column(name))).to_numpy(zero_copy_only=False))
