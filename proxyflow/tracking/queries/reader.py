"""Finding runs on the tracking server, and making frames of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import InvalidValue, NotAllowed, NotFound, UserError, printable
from proxyflow.core.settings import Number
from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.tracking import names
from proxyflow.tracking.connection import access_advice, server_address
from proxyflow.tracking.queries.pages import run_pages
from proxyflow.tracking.queries.tracked_run import TrackedRun, from_client
from proxyflow.tracking.ui.links import run_path

# Each once, whether or not this version's trainings log the last two themselves.
TRAINING_METRICS = tuple(dict.fromkeys((*names.RUN_METRICS, *names.SELECTION_METRICS, "steps", "valid_seconds")))
# Of the epoch metrics a search gives the value of the last epoch. A loss may be negative.
LAST_METRICS = {"final_valid_loss": "valid_loss", "final_train_loss": "train_loss"}


def search(
    client: MlflowClient,
    experiments: Sequence[str] | None = None,
    running: bool = False,
    ended_after: int | None = None,
    **tags: str,
) -> Iterator[TrackedRun]:
    """Runs with the given tags, newest first, each once.

    Args:
        experiments: experiment ids; None searches all, an empty list none.
        running: only those that MLflow itself takes for running.
        ended_after: only those that ended after this time, in ms since 1970.
        tags: constant's name in `names` to value (`KIND="training"`).
    """
    if experiments is not None and not experiments:
        return
    if experiments is None:
        experiments = _all_experiments(client)
    parts = [f"tags.`{getattr(names, key)}` = '{_quoted(value)}'" for key, value in tags.items()]
    if running:
        parts.append("attributes.status = 'RUNNING'")
    if ended_after is not None:
        parts.append(f"attributes.end_time > {ended_after}")
    seen: set[str] = set()
    for page in run_pages(client, experiments, " and ".join(parts)):
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


def finished_values(client: MlflowClient, experiments: Sequence[str]) -> dict[str, float]:
    """Run keys of the finished trainings in these experiments, with their results; nan where one has none."""
    runs = search(client, experiments, KIND="training")
    return {run.tags[names.RUN_KEY]: _result(run) for run in runs if run.finished and names.RUN_KEY in run.tags}


def _result(run: TrackedRun) -> float:
    return run.metrics.get(names.OBJECTIVE if names.METRIC in run.tags else BEST, math.nan)


def _quoted(value: str) -> str:
    if "'" in value:
        raise UserError(f"{value!r} has a single quote, which MLflow's search cannot take; use another name")
    return value


def existing_run(client: MlflowClient, run_id: str, label: str, wanted: str) -> Run:
    """A run by its id, as MLflow has it.

    Args:
        label: what messages call it.
        wanted: the kind of run that the user should name, for messages.

    Raises:
        NotFound: no such run.
        NotAllowed: this user may not see it.
    """
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"{label} does not exist on the tracking server: give the id of {wanted}") from None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise NotFound(f"{label} is not a run id: give the 32 characters of {wanted}") from None
        if advice := access_advice(error):  # which is also the answer for a run that does not exist
            raise NotAllowed(
                f"{label} does not exist on the tracking server, or is not yours to see: give the id of {wanted}, or "
                f"{advice}"
            ) from None
        raise


def get_run(
    client: MlflowClient, run_id: str, kind: names.Kind, what: str, also: names.Kind | None = None
) -> TrackedRun:
    """A finished run of one kind by its id.

    Args:
        what: the option that named it, for the message.
        also: another kind that has the same.

    Raises:
        NotFound: no such run, another kind of run, or one that did not finish.
        NotAllowed: this user may not see it.
    """
    found = from_client(existing_run(client, run_id, f"{what}={run_id}", f"a finished {kind} run"))
    if found.kind not in (kind, also):
        raise NotFound(
            f"{what}={run_id} is a {found.kind or 'foreign'} run, not a {kind} run: give the id of a finished {kind} "
            "run"
        )
    if not found.finished:
        raise NotFound(f"{what}={run_id} is {found.status}, not finished: give the id of a finished {kind} run")
    return found


# The result of a training by the previous version.
BEST = "best_valid_accuracy"
VALIDATION = "valid_"
COUNT = Number(low=0, high=2**31, whole=True)
LARGEST_AMOUNT = 1e30  # whose square and sums are still numbers; more operations than any machine has done
# Params that are the configuration of a training by the previous version, which had no tag for it.
CONFIGURATION_PARAMS = (
    *("arch", "learning_rate", "stem_channels_1", "stem_channels_2", "flip_probability", "optimizer"),
    *("label_smoothing", "batch_size", "weight_decay"),
)
TRAINING_TAGS = {
    "dataset": names.DATASET,
    "dataset_fingerprint": names.DATASET_FINGERPRINT,
    "strategy": names.STRATEGY,
    "config": names.CONFIG,
    "config_group": names.CONFIG_GROUP,
    "config_json": names.CONFIG_JSON,
    "trainer": names.TRAINER,
    "seed": names.SEED,
    "subset_fingerprint": names.SUBSET_FINGERPRINT,
    "run_key": names.RUN_KEY,
    "error": names.ERROR,
}
# What a training is judged by, and its value on validation and on test examples.
JUDGED = ("metric", "goal", "aggregate", "share", "objective", "test_objective")
TRAINING_COLUMNS = (
    *(
        "run_id",
        "name",
        "status",
        *TRAINING_TAGS,
        *JUDGED,
        "epochs",
        "diverged",
        "device",
        "device_shared",
        "precision",
    ),
    *("n_valid", "n_test", "start_time", "end_time", *TRAINING_METRICS, *LAST_METRICS, names.CHANCE),
)
WHOLE_NUMBERS = ("epochs", "n_valid", "n_test")


def trainings(
    client: MlflowClient,
    experiments: Sequence[str],
    on_run: Callable[[TrackedRun], None] | None = None,
    ended_after: int | None = None,
) -> pd.DataFrame:
    """All trainings of a study, one row each, newest first.

    Whoever may write to the server may have written them: text comes without what a terminal would obey, and numbers
    that no training has are missing.

    Args:
        on_run: called with each run as it is found, all of its tags included.
        ended_after: only those that ended after this time, in ms since 1970.

    Returns:
        Columns `run_id`, `name`, `status`, those of `TRAINING_TAGS` (str, missing is empty), `seed` int,
        `epochs`, `n_valid` and `n_test` (Int64, missing where unknown), `diverged` bool, `device` str, `device_shared`
        (boolean, missing where it could not be determined), `precision` str, `start_time`, `end_time` (ms), `metric`,
        `goal` and `aggregate` str, `share` bool, and one float column per metric of the contract and of `LAST_METRICS`,
        `objective`, `test_objective` and `chance_objective` (nan where missing; that of a training that did not log it
        is that of classes of equal sizes). A training by the previous version is judged by
        `ACCURACY`, and its `config_json` is made of its params.
    """
    found = search(client, experiments, ended_after=ended_after, KIND="training")
    return _frame(_row(run) for run in _reported(found, on_run))


def trainings_of_trainer(
    client: MlflowClient,
    trainer: str,
    experiments: Sequence[str] | None = None,
    on_run: Callable[[TrackedRun], None] | None = None,
) -> pd.DataFrame:
    """All trainings by a trainer, as `trainings` gives them.

    Args:
        trainer: its name, which the tag `proxyflow.trainer` has.
        experiments: experiment ids; None searches all.
        on_run: called with each run as it is found.
    """
    found = search(client, experiments, KIND="training", TRAINER=trainer)
    return _frame(_row(run) for run in _reported(found, on_run))


def _reported(runs: Iterable[TrackedRun], on_run: Callable[[TrackedRun], None] | None) -> Iterator[TrackedRun]:
    for run in runs:
        if on_run is not None:
            on_run(run)
        yield run


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
    whole = dict.fromkeys((*WHOLE_NUMBERS, "start_time", "end_time"), "Int64")
    return pd.DataFrame(columns).astype(
        {**whole, "seed": "int64", "diverged": bool, "share": bool, "device_shared": "boolean"}
    )


def _row(run: TrackedRun) -> dict[str, Any]:
    row: dict[str, Any] = {"run_id": run.id, "name": run.name, "status": run.status}
    row |= {column: run.tags.get(tag, "") for column, tag in TRAINING_TAGS.items()}
    # Params are for people, but an older or foreign run may have its epochs nowhere else.
    row["epochs"] = _whole(run.tags.get(names.EPOCHS) or run.params.get("epochs"))
    row["seed"] = _whole(row["seed"]) or 0
    row["diverged"] = run.tags.get(names.DIVERGED) == "true"
    row |= {name: _whole(run.params.get(name)) for name in ("n_valid", "n_test")}
    row["device"] = run.params.get("device", "")
    row["device_shared"] = _true_or_false(run.params.get("device_shared", ""))
    row["precision"] = run.params.get("precision_used") or run.params.get("precision", "")
    row |= {"start_time": run.start_time, "end_time": run.end_time}
    logged = {**{metric: metric for metric in TRAINING_METRICS}, **LAST_METRICS}
    row |= {name: _measured(name, run.metrics.get(metric, math.nan)) for name, metric in logged.items()}
    if not row["config_json"]:
        found = {name: _plain(run.params[name]) for name in CONFIGURATION_PARAMS if name in run.params}
        row["config_json"] = json.dumps(found) if found else ""
    metric = metric_of(run.tags)
    row |= _judged(metric, _result(run), run.metrics.get(_test_name(metric), math.nan))
    chance = run.metrics.get(names.CHANCE, math.nan)
    return row | {names.CHANCE: _share(chance if math.isfinite(chance) else _chance(metric, run.params))}


def metric_of(tags: Mapping[str, str]) -> Metric | None:
    """What a training is judged by, from its tags; None where these are not a metric's.

    A training without these tags is one of the previous version, which knew `ACCURACY` alone.
    """
    if names.METRIC not in tags:
        return ACCURACY
    try:
        if names.METRIC_JSON in tags:
            return Metric.from_json(tags[names.METRIC_JSON])
        return Metric(tags[names.METRIC], tags.get(names.GOAL, ACCURACY.goal))  # type: ignore[arg-type]  # it checks
    except UserError:
        return None


def _test_name(metric: Metric | None) -> str:
    """Under what a training logs the same on test examples, empty where that is not known."""
    name = "" if metric is None else metric.name
    return f"test_{name.removeprefix(VALIDATION)}" if name.startswith(VALIDATION) else ""


def _judged(metric: Metric | None, objective: float, test: float) -> dict[str, Any]:
    """The columns `JUDGED`; a training whose metric is not known has no result."""
    known = ACCURACY if metric is None else metric
    low = 0.0 if known.share else -LARGEST_AMOUNT
    high = 1.0 if known.share else LARGEST_AMOUNT
    values = (value if metric is not None and low <= value <= high else math.nan for value in (objective, test))
    return dict(zip(JUDGED, (known.name, known.goal, known.aggregate, known.share, *values), strict=True))


def _chance(metric: Metric | None, params: Mapping[str, str]) -> float:
    """The objective of a constant prediction of a training that did not log it: that of classes of equal sizes.

    Where sizes differ, a constant prediction is better than that.
    """
    n_classes = _whole(params.get("n_classes"))
    return metric.of_constant_prediction(1 / n_classes) if metric is not None and n_classes else math.nan


def _share(value: float) -> float:
    return value if 0 <= value <= 1 else math.nan


def _plain(text: str) -> str | float | int:
    """A param's value: a number where it is one, else the text."""
    number = read_number(text)
    if not math.isfinite(number):
        return text
    return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else number


def _read(row: Mapping[str, str]) -> dict[str, Any]:
    """A training from the text of its columns."""
    read: dict[str, Any] = dict(row)
    read |= {name: _whole(row[name]) for name in WHOLE_NUMBERS}
    read |= {name: _time(row[name]) for name in ("start_time", "end_time")}
    read["seed"] = _whole(row["seed"]) or 0
    read["diverged"] = row["diverged"].lower() == "true"
    read["device_shared"] = _true_or_false(row["device_shared"])
    metrics = (*TRAINING_METRICS, *LAST_METRICS)
    read |= {metric: _measured(metric, read_number(row[metric])) for metric in metrics}
    read[names.CHANCE] = _share(read_number(row[names.CHANCE]))
    if not row["metric"]:
        return read | _judged(ACCURACY, read[BEST], read[_test_name(ACCURACY)])
    objective, test = (read_number(row[name]) for name in ("objective", "test_objective"))
    return read | _judged(_metric_from(row), objective, test)


def _metric_from(row: Mapping[str, str]) -> Metric | None:
    goal, aggregate, share = row["goal"], row["aggregate"], row["share"]
    try:
        return Metric(row["metric"], goal, aggregate, share)  # type: ignore[arg-type]  # it checks
    except UserError:
        return None


def _true_or_false(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def read_number(text: str) -> float:
    """The number that a text is, to its last digit; nan where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _time(text: str) -> int | None:
    """Milliseconds since 1970."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _measured(metric: str, value: float) -> float:
    """The value where a training can have it, else nan; all of these metrics are amounts, shares or losses."""
    low = -LARGEST_AMOUNT if metric in LAST_METRICS else 0
    return value if low <= value <= (1 if metric in names.SHARES else LARGEST_AMOUNT) else math.nan


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
