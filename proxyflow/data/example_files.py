"""Reads a row of numbers for each example of a data set from a file that another program wrote.

The file may come from anybody, see docs/explanation/safety.md: nothing in it is executed, and no pickle is read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from proxyflow.core.errors import InvalidValue, one_line, shortened
from proxyflow.core.parquet import open_table
from proxyflow.data.modality import modalities
from proxyflow.data.protocol import Dataset

ID = "id"
INDEX = re.compile(r"__index_level_[0-9]+__")  # pandas adds these to Parquet files of frames that were sorted
NAMED = 3  # ids that a message names


@dataclass(frozen=True)
class FileForm:
    """What a file holds for each example.

    Attributes:
        name: the numbers, as the setting that names the file: `predictions`.
        shape: of the array, for messages.
        columns: returns the columns to read, in order, given the path, the names of all columns but the ids, and the
            data set; raises InvalidValue.
        check_width: raises InvalidValue if an array has a wrong number of columns; is given the path too.
        kind: of the numbers that tables are read into; an array keeps its own.
    """

    name: str
    shape: str
    columns: Callable[[Path, Sequence[str], Dataset], list[str]]
    check_width: Callable[[Path, int, Dataset], None]
    kind: DTypeLike


@dataclass(frozen=True, eq=False)
class FileRows:
    """The rows of the training examples in a file.

    Attributes:
        values: `(rows of the file, d)`, not checked yet; the map of an array's file.
        rows: `(n,)`, the row of each training example, in the order of the training set.
        names: `(n,)`, what messages call the examples.
        ignored: rows of the file that are of no training example.
    """

    values: NDArray[Any]
    rows: NDArray[np.int64]
    names: Sequence[str]
    ignored: int


def read_example_file(path: Path, dataset: Dataset, form: FileForm) -> FileRows:
    """Finds the rows of a data set's training examples.

    Args:
        path: `.parquet` or `.csv` with a column `id` (what the user calls the examples, see `Modality.identifiers`)
            and columns of numbers; rows in any order. Or `.npy` with a row per training example in the order of the
            training set; or, with more rows, a row per example of the source, in its order, see `Modality.positions`.

    Raises:
        InvalidValue: the file is missing or of another form, lacks an example or has it twice, or its columns are not
            those of the form; the error names the file, and the id, row or column.
    """
    read = check_file(path, form.name)
    try:
        return read(path, dataset, form)
    except InvalidValue:
        raise
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        raise InvalidValue(form.name, path, f"it cannot be read ({one_line(error)}); write it again") from None


def check_file(path: Path, name: str) -> Callable[[Path, Dataset, FileForm], FileRows]:
    """The reader of a file, by its ending.

    Args:
        name: of the setting that names the file.

    Raises:
        InvalidValue: there is no such file, or files with this ending are not read.
    """
    if path.suffix.lower() not in READERS:
        raise InvalidValue(name, path, f"its name must end in {', '.join(READERS)}")
    if not path.is_file():
        raise InvalidValue(name, path, f"no such file in {Path.cwd()}")
    return READERS[path.suffix.lower()]


def _read_parquet(path: Path, dataset: Dataset, form: FileForm) -> FileRows:
    place: dict[str, Any] = {}

    def check(schema: pa.Schema) -> None:
        place["columns"] = _check_columns(path, schema.names, dataset, form)
        for name in place["columns"]:
            kind = schema.field(name).type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
                raise InvalidValue(f"{path.name}: column {shortened(name)}", kind, f"{form.name} must be numbers")
        kind = schema.field(ID).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise InvalidValue(f"{path.name}: column {ID}", kind, "ids must be text or whole numbers")

    try:
        with open_table(path, check, dictionaries=[ID]) as table:
            columns: list[str] = place["columns"]
            ids = [_text(batch[ID]) for batch in table.batches([ID])]
            values = np.empty((table.rows, len(columns)), dtype=form.kind)
            for number, name in enumerate(columns):
                begin = 0
                for batch in table.batches([name]):
                    values[begin : begin + len(batch), number] = batch[name].to_numpy(zero_copy_only=False)
                    begin += len(batch)
    except ValueError as error:
        hint = '; write it with compression="snappy"' if "compressed by" in str(error) else ""
        raise ValueError(f"{error}{hint}") from None
    return _aligned(path, np.concatenate([*ids, np.empty(0, dtype=object)]), values, dataset)


def _text(column: pa.Array) -> NDArray[Any]:
    """Ids as text, None where there is none."""
    if not pa.types.is_dictionary(column.type):
        return np.array(column.cast(pa.string()).to_pylist(), dtype=object)
    # References to the values: copies for all rows could be any number of bytes.
    values = np.array([*column.dictionary.cast(pa.string()).to_pylist(), None], dtype=object)
    found: NDArray[Any] = values[column.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)]
    return found


def _read_csv(path: Path, dataset: Dataset, form: FileForm) -> FileRows:
    from pyarrow import csv as arrow_csv  # only files of this kind need it

    with path.open(newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file), [])
    columns = _check_columns(path, header, dataset, form)
    types = {ID: pa.string(), **dict.fromkeys(columns, pa.float64())}
    options = arrow_csv.ConvertOptions(
        column_types=types, include_columns=[ID, *columns], null_values=[""], strings_can_be_null=True
    )
    # Quoted fields may have line breaks.
    table = arrow_csv.read_csv(
        path, convert_options=options, parse_options=arrow_csv.ParseOptions(newlines_in_values=True)
    )
    values = np.column_stack([table[name].to_numpy().astype(form.kind) for name in columns])
    return _aligned(path, table[ID].to_numpy(), values, dataset)


def _check_columns(path: Path, names: Sequence[str], dataset: Dataset, form: FileForm) -> list[str]:
    """The columns to read besides the ids, in order."""
    repeated = sorted({name for name in names if list(names).count(name) > 1}) if len({*names}) < len(names) else []
    if repeated:
        raise InvalidValue(f"{path.name}: column", repeated[0], "it occurs twice; names of columns must differ")
    if ID not in names:
        shown = shortened(", ".join(names))
        raise InvalidValue(f"{path.name}: columns", shown, f"there must be a column {ID} with the examples' ids")
    found = [name for name in names if name != ID and not INDEX.fullmatch(name)]
    return form.columns(path, found, dataset)


def _aligned(path: Path, ids: NDArray[Any], values: NDArray[Any], dataset: Dataset) -> FileRows:
    """The rows of the training examples, in the order of the training set."""
    lacking = np.flatnonzero(pd.isna(ids))
    if len(lacking):
        rule = f"an id is missing in {len(lacking):,} rows; give each row the id of its example"
        raise InvalidValue(f"{path.name}: id of row", int(lacking[0]), rule)
    wanted = pd.Index([str(each) for each in modalities[dataset.modality].identifiers(dataset.train)], dtype=object)
    found = pd.Index(ids, dtype=object)
    rows = np.flatnonzero(found.isin(wanted))
    kept = found[rows]
    again = kept[kept.duplicated()].unique()
    if len(again):
        rule = f"it occurs twice, as {_examples(again)} do; give each example one row"
        raise InvalidValue(f"{path.name}: id", again[0], rule)
    places = kept.get_indexer(wanted)
    missing = wanted[places < 0]
    if len(missing):
        has = f"the file has {_examples(found)}" if len(found) else "the file has no rows"
        rule = f"it has no row, as {_examples(missing)} of {len(wanted):,} training examples; {has}"
        raise InvalidValue(f"{path.name}: id", missing[0], rule)
    names = [f"id {each}" for each in wanted]
    return FileRows(values, rows[places], names, len(found) - len(rows))


def _examples(ids: pd.Index) -> str:
    """Some ids, for messages."""
    shown = ", ".join(shortened(str(each), 50) for each in ids[:NAMED])
    return f"{len(ids):,} ids ({shown}{', ...' if len(ids) > NAMED else ''})"


def _read_npy(path: Path, dataset: Dataset, form: FileForm) -> FileRows:
    # As a map, an array whose header claims more than the file has is refused before any memory is taken.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim != 2:
        what = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise InvalidValue(form.name, path, f"it must have numbers of shape {form.shape}, and has {what}")
    form.check_width(path, array.shape[1], dataset)
    n = len(dataset.train)
    rows = np.arange(n)
    if len(array) != n:
        modality = modalities[dataset.modality]
        parts = (dataset.train, *dataset.held_out.values())
        last = max(int(modality.positions(part).max(initial=-1)) for part in parts)
        if len(array) < n or len(array) <= last:
            rule = (
                f"it has {len(array):,} rows; give one for each of the {n:,} training examples in their order, or one "
                f"for each example of the source ({max(last + 1, n):,} or more); a table with ids may have any order"
            )
            raise InvalidValue(form.name, path, rule)
        rows = modality.positions(dataset.train)
    return FileRows(array, rows, [f"row {row}" for row in rows], len(array) - n)


READERS: Mapping[str, Callable[[Path, Dataset, FileForm], FileRows]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".npy": _read_npy,
}
