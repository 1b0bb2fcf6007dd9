"""A table with labels as the contents of a data set: classes, the split, and all checks that name a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from proxyflow.core.errors import UNPRINTABLE, InvalidValue, shortened
from proxyflow.data.protocol import Contents, numbered
from proxyflow.data.table.arrays import WHERE, table_of
from proxyflow.data.table.columns import as_text, one_array
from proxyflow.data.table.spelling import USUAL
from proxyflow.data.table.store import TableSet, store_of

# More distinct values than this are looked at: they may be measurements, or names.
FEW_CLASSES = 20
LONGEST_NAME = 1000  # of a class, as in manifests
SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MISSING = "(missing)"


@dataclass(frozen=True)
class Place:
    """Where a table is, for messages.

    Attributes:
        where: its file, or what it is otherwise called.
        syntax: how columns in brackets are named: `table:FILE[{}]`; empty for data in memory.
        first: number of the first row: files count from 1, below the names, and arrays from 0.
    """

    where: str
    syntax: str = ""
    first: int = 1

    def row(self, position: int) -> str:
        """A row by its place."""
        return f"row {position + self.first:,} of {self.where}"

    def naming(self, entry: str) -> str:
        """How to name a column in brackets."""
        return self.syntax.format(entry)


IN_MEMORY = Place(WHERE, first=0)


def find_roles(names: Sequence[str], named: Mapping[str, str], place: Place) -> dict[str, str]:
    """Which column has which role.

    Args:
        names: of all columns.
        named: role to column where the user named one; an empty column says that there is none.

    Raises:
        InvalidValue: there is no such column, no column of labels, or a column has two roles.
    """
    roles = {role: role for role in USUAL if role in names and role not in named}
    for role, column in named.items():
        if column and column not in names:
            raise InvalidValue(role, column, f"{place.where} has no such column; it has {_listed(names)}")
        if column:
            roles[role] = column
    if "label" not in roles:
        rule = (
            f"{place.where} has no column label; it has {_listed(names)}: name the column of the labels, "
            f"{place.naming('label=COLUMN')}"
        )
        raise InvalidValue("label", MISSING, rule)
    for role, column in roles.items():
        other = next(each for each in roles if roles[each] == column)
        if other != role:
            rule = f"the column is already the {other}; with {place.naming(f'{other}=')} the table has no {other}"
            raise InvalidValue(role, column, rule)
    return {role: roles[role] for role in (*USUAL, *named) if role in roles}


@dataclass(frozen=True, eq=False)
class Labelled:
    """What the columns with a role say of each row.

    Attributes:
        class_names: by label.
        labels: `(n,) int64`.
        split: `(n,)` `train`, `valid` or `test`; None without a split.
    """

    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    split: NDArray[np.str_] | None


def read_roles(table: pa.Table, roles: Mapping[str, str], place: Place) -> Labelled:
    """Reads and checks the columns that have a role.

    Raises:
        InvalidValue: a value is missing, unknown or doubled; the message names its row.
    """
    names, labels = _classes(table, roles["label"], place)
    if "id" in roles:
        _check_ids(table, roles["id"], place)
    split = _split(table, roles["split"], place) if "split" in roles else None
    if "group" in roles:
        _check_groups(table, roles["group"], split, place)
    return Labelled(names, labels, split)


def left_out(split: NDArray[np.str_] | None, where: str) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Positions of the rows that are used, None for all, with a note on those that are not."""
    if split is None or not (split == "test").any():
        return None, ()
    n = int((split == "test").sum())
    note = f"{n:,} test rows of {where} are left out: nothing is selected by them, and nothing is trained on them"
    return np.flatnonzero(split != "test"), (note,)


def contents_from(
    table: pa.Table, roles: Mapping[str, str], place: Place, by_id: bool = False, format: str = ""
) -> Contents:
    """The contents of a data set that a table is.

    Args:
        table: its columns are of types in `columns.TYPES`.
        roles: as `find_roles` gives them.
        place: where it is, for messages.
        by_id: an id stands for an example that is elsewhere, see `identity.content_columns`.
        format: of its file.

    Raises:
        InvalidValue: it cannot be used; the message names the row and the column.
    """
    found = read_roles(table, roles, place)
    labels, split = found.labels, found.split
    kept, notes = left_out(split, place.where)
    positions = np.arange(len(table), dtype=np.int64)
    if kept is not None and split is not None:
        table, positions, labels, split = table.take(pa.array(kept)), kept, labels[kept], split[kept]
        table = pa.table([one_array(column) for column in table.columns], names=table.column_names)
    store = store_of(table, roles, positions, by_id, format)
    everything = TableSet(store, np.arange(len(store), dtype=np.int64), labels, np.arange(len(store), dtype=np.int64))
    if split is None:
        return Contents(found.class_names, everything, None, notes=notes)
    train, valid = (numbered(everything.take(split == part)) for part in ("train", "valid"))
    return Contents(found.class_names, train, valid, notes=notes)


def contents_of(labels: Any, columns: Any = None, split: Any = None, group: Any = None, id: Any = None) -> Contents:
    """The contents of a data set that is in memory: labels are enough.

    Args:
        labels: `(n,)` the class of each example: text, whole numbers, or anything that `str` names.
        columns: what else is known of the examples: a data frame, or a mapping of names to `(n,)` values. Without it an
            example is known by its `id`, and without that by its position.
        split: `(n,)`, `train` or `valid`; without it a validation set is split off.
        group: `(n,)`; members of a group stay on one side of every split.
        id: `(n,)`, what the user calls the examples, each once.

    Raises:
        InvalidValue: a value is missing, unknown or doubled, or lengths differ; the message names the position.

    Example:
        >>> contents = contents_of(["cat", "dog", "cat", "dog"], split=["train", "train", "valid", "valid"])
        >>> contents.class_names, len(contents.train), contents.train.labels.tolist()
        (('cat', 'dog'), 2, [0, 1])
    """
    given = {"label": labels, "id": id, "split": split, "group": group}
    roles = {role: values for role, values in given.items() if values is not None}
    table = table_of(columns, roles)
    return contents_from(table, {role: role for role in roles}, IN_MEMORY)


def _classes(table: pa.Table, column: str, place: Place) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    values = one_array(table.column(column))
    encoded = as_text(values).dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    for code, name in enumerate(names):
        row = int(np.argmax(codes == code)) if not name or UNPRINTABLE.search(name) or len(name) > LONGEST_NAME else -1
        if row >= 0 and not name:
            rule = f"{place.row(row)} has none in column {column}; give it a label, or leave the row out"
            raise InvalidValue("label", MISSING, rule)
        if row >= 0:
            rule = f"{place.row(row)} has this label; labels have at most {LONGEST_NAME:,} characters, none of control"
            raise InvalidValue("label", name, rule)
    if len(names) < 2:
        rule = f"it is the only class in column {column} of {place.where}; at least 2 are needed"
        raise InvalidValue("label", names[0] if names else MISSING, rule)
    _check_few(names, len(codes), column, place)
    order = sorted(range(len(names)), key=_class_order(names))
    label_of = np.empty(len(names), dtype=np.int64)
    label_of[order] = np.arange(len(names))
    return tuple(names[code] for code in order), label_of[codes]


def _class_order(names: Sequence[str]) -> Any:
    """How classes are ordered: by number where all are whole numbers, else by name."""
    try:
        numbers = [int(name) for name in names]
    except ValueError:
        return names.__getitem__
    return lambda code: (numbers[code], names[code])


def _check_few(names: Sequence[str], n: int, column: str, place: Place) -> None:
    """Refuses measurements, and names that almost every row has its own of."""
    if len(names) <= FEW_CLASSES:
        return
    numbers = _numbers(names)
    broken = numbers is not None and bool((numbers != np.round(numbers)).any())
    if numbers is not None and (broken or len(names) > n / 2):
        rule = (
            f"column {column} of {place.where} has {len(names):,} different numbers, so it is a measurement, not "
            "a class; add a column of classes, such as quantile bins (pandas.qcut(y, 5, labels=False)), and use that"
        )
        raise InvalidValue("label", column, rule)
    if len(names) > n / 2:
        rule = (
            f"column {column} of {place.where} has {len(names):,} different values in {n:,} rows, and a class needs "
            f"several rows; name another column"
        )
        raise InvalidValue("label", column, rule)


def _numbers(names: Sequence[str]) -> NDArray[np.float64] | None:
    try:
        numbers = np.array([float(name) for name in names])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _check_ids(table: pa.Table, column: str, place: Place) -> None:
    ids = as_text(one_array(table.column(column)))
    _check_present("id", ids, column, place)
    encoded = ids.dictionary_encode()
    if len(encoded.dictionary) == len(ids):
        return
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    doubled = order[1:][codes[order[1:]] == codes[order[:-1]]]
    second = int(doubled.min())
    first = int(np.argmax(codes == codes[second]))
    rule = (
        f"{place.row(first)} and row {second + place.first:,} have this id in column {column}; each row needs its own"
        + (f" ({len(doubled):,} rows repeat an id)" if len(doubled) > 1 else "")
    )
    raise InvalidValue("id", ids[second].as_py(), rule)


def _split(table: pa.Table, column: str, place: Place) -> NDArray[np.str_]:
    written = as_text(one_array(table.column(column)))
    _check_present("split", written, column, place)
    encoded = written.dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
    for code, name in enumerate(names):
        if name.strip().lower() not in SPLITS:
            row = place.row(int(np.argmax(codes == code)))
            rule = f"{row} has this in column {column}; accepted are train, valid and test"
            raise InvalidValue("split", name, rule)
    parts = np.array([SPLITS[name.strip().lower()] for name in names])
    for part, what in (("train", "training"), ("valid", "validation")):
        if part not in parts:
            found = " and ".join(sorted({*parts.tolist()}))
            rule = f"column {column} of {place.where} has {found} rows only; mark some rows as {part}"
            if place.syntax and "test" not in parts:  # else rows that were kept for a test would be trained on
                rule += f", or name no column, so that validation rows are split off: {place.naming('split=')}"
            raise InvalidValue("split", f"no {what} rows", rule)
    return np.asarray(parts[codes])


def _check_groups(table: pa.Table, column: str, split: NDArray[np.str_] | None, place: Place) -> None:
    groups = as_text(one_array(table.column(column)))
    _check_present("group", groups, column, place)
    if split is None:
        return
    codes = groups.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    train, valid = np.flatnonzero(split == "train"), np.flatnonzero(split == "valid")
    shared = valid[np.isin(codes[valid], codes[train])]
    if len(shared):
        row = int(shared[0])
        other = int(train[np.argmax(codes[train] == codes[row])])
        rule = (
            f"{place.row(other)} is for training and row {row + place.first:,} for validation, and both are of this "
            f"group in column {column}; a group stays on one side: move its rows, or leave out the split or the groups"
        )
        raise InvalidValue("group", groups[row].as_py(), rule)


def _check_present(role: str, text: pa.Array, column: str, place: Place) -> None:
    empty = pc.index(pc.binary_length(text), 0).as_py() if len(text) else -1
    if empty >= 0:
        rule = f"{place.row(empty)} has none in column {column}; each row needs one"
        raise InvalidValue(role, MISSING, rule)


def _listed(names: Sequence[str]) -> str:
    return shortened(", ".join(names), 300)
