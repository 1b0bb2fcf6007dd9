"""Finding runs on the tracking server, and making frames of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.errors import InvalidValue, NotAllowed, NotFound, UserError, printable
from proxyflow.settings import Number
from proxyflow.tracking import names
from proxyflow.tracking.connection import advice_on, server_address
from proxyflow.tracking.found import FoundRun, from_client
from proxyflow.tracking.links import run_path
from proxyflow.tracking.pages import pages

TRAINING_METRICS = (*names.RUN_METRICS, *names.SELECTION_METRICS)


def search(
    client: MlflowClient, experiments: Sequence[str] | None = None, running: bool = False, **tags: str
) -> Iterator[FoundRun]:
    """Runs with the given tags, newest first, each once.

    Args:
        experiments: experiment ids; None searches all, an empty list none.
        running: only those that MLflow itself takes for running.
        tags: constant's name in `names` to value (`KIND="training"`).
    """
    if experiments is not None and not experiments:
        return
    if experiments is None:
        experiments = _all_experiments(client)
    parts = [f"tags.`{getattr(names, key)}` = '{_quoted(value)}'" for key, value in tags.items()]
    if running:
        parts.append("attributes.status = 'RUNNING'")
    seen: set[str] = set()
    for page in pages(client, experiments, " and ".join(parts)):
        # A run that begins meanwhile moves the others by one place, and a page then begins with the end of the last.
        new = [run for run in page if run.id not in seen]
        seen.update(run.id for run in new)
        yield from new


def _all_experiments(client: MlflowClient) -> list[str]:
    found = client.search_experiments()
    ids = [experiment.experiment_id for experiment in found]
    while found.token:
        found = client.search_experiments(page_token=found.token)
        ids += [experiment.experiment_id for experiment in found]
    return ids


def finished_keys(client: MlflowClient, experiments: Sequence[str]) -> set[str]:
    """Run keys of the finished trainings in these experiments."""
    runs = search(client, experiments, KIND="training")
    return {run.tags[names.RUN_KEY] for run in runs if run.finished and names.RUN_KEY in run.tags}


def _quoted(value: str) -> str:
    if "'" in value:
        raise UserError(f"{value!r} has a single quote, which MLflow's search cannot take; use another name")
    return value


def get_run(client: MlflowClient, run_id: str, kind: names.Kind, what: str, also: names.Kind | None = None) -> FoundRun:
    """A finished run of one kind by its id.

    Args:
        what: the option that named it, for the message.
        also: another kind that has the same.

    Raises:
        NotFound: no such run, another kind of run, or one that did not finish.
        NotAllowed: this user may not see it.
    """
    try:
        found = from_client(client.get_run(run_id))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(
                f"{what}={run_id} does not exist on the tracking server: give the id of a finished {kind} run"
            ) from None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise NotFound(
                f"{what}={run_id} is not a run id: give the 32 characters of a finished {kind} run"
            ) from None
        if advice := advice_on(error):  # which is also what is said of a run that does not exist
            raise NotAllowed(
                f"{what}={run_id} does not exist on the tracking server, or is not yours to see: give the id of a "
                f"finished {kind} run, or {advice}"
            ) from None
        raise
    if found.kind not in (kind, also):
        raise NotFound(
            f"{what}={run_id} is a {found.kind or 'foreign'} run, not a {kind} run: give the id of a finished {kind} "
            "run"
        )
    if not found.finished:
        raise NotFound(f"{what}={run_id} is {found.status}, not finished: give the id of a finished {kind} run")
    return found


COUNT = Number(low=0, high=2**31, whole=True)
LARGEST_AMOUNT = 1e30  # whose square and sums are still numbers; more operations than any machine has done
TRAINING_TAGS = {
    "dataset": names.DATASET,
    "dataset_fingerprint": names.DATASET_FINGERPRINT,
    "strategy": names.STRATEGY,
    "config": names.CONFIG,
    "config_group": names.CONFIG_GROUP,
    "seed": names.SEED,
    "subset_fingerprint": names.SUBSET_FINGERPRINT,
    "run_key": names.RUN_KEY,
    "error": names.ERROR,
}
TRAINING_COLUMNS = (
    *("run_id", "name", "status", *TRAINING_TAGS, "epochs", "diverged", "device", "precision", "n_valid"),
    *("start_time", "end_time", *TRAINING_METRICS),
)


def trainings(client: MlflowClient, experiments: Sequence[str]) -> pd.DataFrame:
    """All trainings of a study, one row each, newest first.

    Whoever may write to the server may have written them: text comes without what a terminal would obey, and numbers
    that no training has are missing.

    Returns:
        Columns `run_id`, `name`, `status`, those of `TRAINING_TAGS` (str, missing is empty), `seed` int,
        `epochs` and `n_valid` (Int64, missing where unknown), `diverged` bool, `device` str, `precision` str,
        `start_time`, `end_time` (ms) and one float column per metric of the contract (nan where missing).
    """
    return _frame(_row(run) for run in search(client, experiments, KIND="training"))


def trainings_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Trainings from a table of text, by the same rules and with the same columns as `trainings`.

    Args:
        rows: columns `TRAINING_COLUMNS`, all of str.
    """
    columns = {str(name): list(rows[name]) for name in TRAINING_COLUMNS}
    return _frame(_read(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {name: [] for name in TRAINING_COLUMNS}
    # The words of a study are few, and each of 20,000 runs brings its own copies.
    words: dict[str, str] = {}
    for row in rows:
        for name, values in columns.items():
            value = row[name]
            if isinstance(value, str):
                value = words[value] if value in words else words.setdefault(value, printable(value))
            values.append(value)
    whole = dict.fromkeys(("epochs", "n_valid", "start_time", "end_time"), "Int64")
    return pd.DataFrame(columns).astype({**whole, "seed": "int64", "diverged": bool})


def _row(run: FoundRun) -> dict[str, Any]:
    row: dict[str, Any] = {"run_id": run.id, "name": run.name, "status": run.status}
    row |= {column: run.tags.get(tag, "") for column, tag in TRAINING_TAGS.items()}
    # Params are for people, but an older or foreign run may have its epochs nowhere else.
    row["epochs"] = _whole(run.tags.get(names.EPOCHS) or run.params.get("epochs"))
    row["seed"] = _whole(row["seed"]) or 0
    row["diverged"] = run.tags.get(names.DIVERGED) == "true"
    row["n_valid"] = _whole(run.params.get("n_valid"))
    row["device"] = run.params.get("device", "")
    row["precision"] = run.params.get("precision_used") or run.params.get("precision", "")
    row |= {"start_time": run.start_time, "end_time": run.end_time}
    row |= {metric: _measured(metric, run.metrics.get(metric, math.nan)) for metric in TRAINING_METRICS}
    return row


def _read(row: Mapping[str, str]) -> dict[str, Any]:
    """A training from the text of its columns."""
    read: dict[str, Any] = dict(row)
    read |= {name: _whole(row[name]) for name in ("epochs", "n_valid")}
    read |= {name: _time(row[name]) for name in ("start_time", "end_time")}
    read["seed"] = _whole(row["seed"]) or 0
    read["diverged"] = row["diverged"].lower() == "true"
    return read | {metric: _measured(metric, _number(row[metric])) for metric in TRAINING_METRICS}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _time(text: str) -> int | None:
    """Milliseconds since 1970."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _measured(metric: str, value: float) -> float:
    """The value where a training can have it, else nan; all of these metrics are amounts, or shares."""
    return value if 0 <= value <= (1 if metric in names.SHARES else LARGEST_AMOUNT) else math.nan


def _whole(text: str | None) -> int | None:
    try:
        return int(COUNT.parse("", text)) if text else None
    except InvalidValue:
        return None


def run_url(experiment_id: str, run_id: str) -> str:
    """Where the MLflow UI shows a run, empty where the store has no server."""
    # A page with the address goes to many people, and a password in it would go along.
    address = server_address()
    return f"{address.rstrip('/')}/{run_path(experiment_id, run_id)}" if address.startswith("http") else ""
