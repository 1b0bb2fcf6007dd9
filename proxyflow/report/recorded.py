"""A study from the files of an earlier report: the same report again, with no server."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from proxyflow.errors import UserError
from proxyflow.report.tables import CURVES, RUN_COLUMNS, RUNS
from proxyflow.tracking import curves as of_epochs
from proxyflow.tracking.reader import trainings_of

TOLD = 3  # columns that a message names


def read_recorded(path: Path) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Trainings as a report wrote them, checked as those of a server are, since others may have written the file.

    Args:
        path: `runs.csv`, with `curves.csv` beside it.

    Returns:
        The trainings as `tracking.reader.trainings` gives them, and the accuracies of the target's after each epoch as
        `tracking.curves.accuracy_curves` does; None where there is no such file, and so no table of epochs.

    Raises:
        UserError: it is no such table.
    """
    found = trainings_of(_rows(path, RUN_COLUMNS))
    if found.empty:
        raise UserError(f"runs={path} holds no training")
    beside = path.with_name(f"{CURVES}.csv")
    if not beside.exists():
        return found, None
    return found, of_epochs.curves_of(_rows(beside, list(of_epochs.COLUMNS)))


def _rows(path: Path, columns: list[str]) -> pd.DataFrame:
    """The file's rows as text."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give the {RUNS}.csv of a report") from None
    except (ValueError, csv.Error) as error:  # no UTF-8, or no CSV
        raise UserError(f"{path} is no table ({error}): give the {RUNS}.csv of a report") from None
    if missing := [name for name in columns if name not in header]:
        told = ", ".join(missing[:TOLD]) + (f" and {len(missing) - TOLD} more" if len(missing) > TOLD else "")
        raise UserError(f"{path} has no column {told}: give a file that this version's report wrote")
    if twice := [name for name in columns if header.count(name) > 1]:
        raise UserError(f"{path} has the column {twice[0]} {header.count(twice[0])} times: leave one of them")
    if uneven := [number for number, row in enumerate(rows, start=2) if len(row) != len(header)]:
        cells = len(rows[uneven[0] - 2])
        raise UserError(
            f"{path}, row {uneven[0]}: it has {cells} cells, not {len(header)}; give it as the report wrote it"
        )
    return pd.DataFrame(rows, columns=header, dtype=str)[columns]
