"""Arrays in memory as a table: numbers, text and what else a column of a file can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from proxyflow.core.errors import InvalidValue
from proxyflow.data.table.columns import TEXT
from proxyflow.data.table.formats import check_names, usual_types

WHERE = "the data"


def table_of(columns: Any, roles: Mapping[str, Any]) -> pa.Table:
    """A table of some columns and of those that have a role, which are called as their role.

    Args:
        columns: a pandas data frame, a mapping of names to `(n,)` values, a table of Arrow, or None.
        roles: `(n,)` values by role.

    Raises:
        InvalidValue: a column has another length or values of no type that tables have, or a name is taken twice.
    """
    given = _arrays(columns)
    for role in roles:
        if role in given:
            raise InvalidValue("column", role, f"the columns have one of this name beside {role}=...; leave one out")
    arrays = given | {role: array_of(role, values) for role, values in roles.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        name = next(name for name in lengths if lengths[name] != next(iter(lengths.values())))
        rule = f"it has {lengths[name]:,} values, and {next(iter(lengths))} has {next(iter(lengths.values())):,}"
        raise InvalidValue("column", name, rule)
    check_names(list(arrays), WHERE)
    return usual_types(pa.table(list(arrays.values()), names=list(arrays)), WHERE)


def _arrays(columns: Any) -> dict[str, pa.Array | pa.ChunkedArray]:
    if columns is None:
        return {}
    if isinstance(columns, pa.Table):
        check_names(columns.column_names, WHERE)
        return dict(zip(columns.column_names, columns.columns, strict=True))
    if not hasattr(columns, "items"):
        raise InvalidValue("columns", type(columns).__name__, "give a data frame, or a mapping of names to arrays")
    pairs = [(str(name), values) for name, values in columns.items()]
    check_names([name for name, _ in pairs] or ["none"], WHERE)
    return {name: array_of(name, values) for name, values in pairs}


def array_of(name: str, values: Any) -> pa.Array | pa.ChunkedArray:
    """Values as a column; values of several types become text.

    Raises:
        InvalidValue: they are no sequence, or of more than one dimension.
    """
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if isinstance(values, Iterable) and not hasattr(values, "__len__"):
        values = list(values)
    try:
        # Series keep their missing values; tensors and lists of numbers are arrays.
        return pa.array(values if hasattr(values, "dtype") and not _is_tensor(values) else _plain(values))
    except (pa.ArrowException, TypeError, ValueError):
        pass
    try:
        cells = [None if value is None or value != value else str(value) for value in values]
    except (TypeError, ValueError):
        raise InvalidValue(
            name, type(values).__name__, "give a value for each row: a list, an array, or a series"
        ) from None
    return pa.array(cells, TEXT)


def _is_tensor(values: Any) -> bool:
    return hasattr(values, "detach")


def _plain(values: Any) -> Any:
    if _is_tensor(values):
        values = values.detach().cpu().numpy()
    return list(values) if isinstance(values, np.ndarray) and values.ndim == 2 else values
