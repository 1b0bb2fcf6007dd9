"""A study from the files of an earlier report: the same report again, with no server."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from proxyflow.errors import UserError
from proxyflow.report.tables import CURVES, RUN_COLUMNS, RUNS
from proxyflow.tracking import curves as of_epochs
from proxyflow.tracking.reader import trainings_of


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
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' parser's errors are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as a table ({reason}): give the {RUNS}.csv of a report") from None
    if missing := [name for name in columns if name not in rows]:
        raise UserError(f"{path} has no column {', '.join(missing)}: give a file that this version's report wrote")
    return rows
