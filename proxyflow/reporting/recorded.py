"""A study from the files of an earlier report, so that the report can be made again without a server."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from proxyflow.core.errors import UserError
from proxyflow.reporting.tables import CURVES, RUN_COLUMNS, RUNS
from proxyflow.tracking import names
from proxyflow.tracking.queries import curves as of_epochs
from proxyflow.tracking.queries.reader import JUDGED, trainings_of

NAMED = 3  # columns that a message lists
# Columns that reports of earlier versions did not write: where they are missing, all of their cells are empty.
ADDED_TO_RUNS = frozenset(
    ("device_shared", "test_accuracy", "final_valid_loss", "final_train_loss", "steps", "valid_seconds", "n_test")
) | {"config_json", "trainer", names.CHANCE, *JUDGED}
ADDED_TO_CURVES = frozenset(("valid_loss", "train_loss", "epoch_seconds"))
# What earlier versions called a column.
FORMER = {"objective": "valid_accuracy"}


def read_recorded(path: Path) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Trainings as a report wrote them, with the checks of those from a server.

    Args:
        path: `runs.csv`, with `curves.csv` next to it.

    Returns:
        The trainings as `tracking.queries.reader.trainings` gives them, and their epochs as
        `tracking.queries.curves.training_curves` does (of a report of version 0.1.0 those of the target alone); None
        where there is no such file, and so no table of epochs.

    Raises:
        UserError: it is no such table.
    """
    found = trainings_of(_rows(path, RUN_COLUMNS, ADDED_TO_RUNS, {}))
    if found.empty:
        raise UserError(f"runs={path} has no training")
    curves_path = path.with_name(f"{CURVES}.csv")
    if not curves_path.exists():
        return found, None
    return found, of_epochs.curves_of(_rows(curves_path, list(of_epochs.COLUMNS), ADDED_TO_CURVES, FORMER), found)


def _rows(path: Path, columns: list[str], added: frozenset[str], former: Mapping[str, str]) -> pd.DataFrame:
    """The file's rows as text.

    Args:
        added: columns that may be missing.
        former: column to its name in files of earlier versions.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(filter(None, reader), [])
            for name, earlier in former.items():
                if name not in header and earlier in header:
                    header[header.index(earlier)] = name
            _check_header(path, header, columns, added)
            return _texts(path, reader, header, columns)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give the {RUNS}.csv of a report") from None
    except (ValueError, csv.Error) as error:  # no UTF-8, or no CSV
        raise UserError(f"{path} is not a table ({error}): give the {RUNS}.csv of a report") from None


def _check_header(path: Path, header: list[str], columns: list[str], added: frozenset[str]) -> None:
    if missing := [name for name in columns if name not in header and name not in added]:
        listed = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
        raise UserError(f"{path} has no column {listed}: give a file that this version's report wrote")
    if twice := [name for name in columns if header.count(name) > 1]:
        raise UserError(f"{path} has the column {twice[0]} {header.count(twice[0])} times: leave one of them")


def _texts(path: Path, rows: Iterable[list[str]], header: list[str], columns: list[str]) -> pd.DataFrame:
    """The wanted columns, row by row, as a file may hold every epoch of 20,000 trainings."""
    places = {name: header.index(name) for name in columns if name in header}
    found: dict[str, list[str]] = {name: [] for name in places}
    words: dict[str, str] = {}  # names and labels come again and again
    for number, row in enumerate(filter(None, rows), start=2):
        if len(row) != len(header):
            raise UserError(
                f"{path}, row {number}: it has {len(row)} cells, not {len(header)}; give it as the report wrote it"
            )
        for name, place in places.items():
            found[name].append(words.setdefault(row[place], row[place]))
    length = len(next(iter(found.values())))
    return pd.DataFrame({name: found.get(name, [""] * length) for name in columns}, columns=columns, dtype=str)
