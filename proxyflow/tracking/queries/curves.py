"""What many trainings logged after each epoch: queried in bulk, and cached on disk for runs that have ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from proxyflow.core.errors import printable
from proxyflow.tracking import names
from proxyflow.tracking.connection import server_address
from proxyflow.tracking.queries import curve_cache
from proxyflow.tracking.queries.curve_tag import points_of
from proxyflow.tracking.queries.histories import METRICS, POINT, Points, histories
from proxyflow.tracking.queries.reader import LARGEST_AMOUNT, metric_of, read_number
from proxyflow.tracking.queries.tracked_run import TrackedRun

COLUMNS = {"run_id": "str", "epoch": "int64", **dict.fromkeys(METRICS, "float64")}
MOST_EPOCHS = 1_000_000


class FoundCurves:
    """Curves that came with the runs themselves, see `curve_tag`; give its `add` to `reader.trainings`."""

    def __init__(self) -> None:
        self._points: dict[str, Points] = {}

    def add(self, run: TrackedRun) -> None:
        """Keeps the curves of a finished run, where its tag has them."""
        text, metric = run.tags.get(names.CURVES, ""), metric_of(run.tags)
        points = points_of(text, 0, metric.name) if run.finished and metric is not None else None
        if points is not None:
            self._points[run.id] = points

    def of(self, run_ids: Iterable[str]) -> tuple[list[str], list[Points]]:
        """Those of these runs whose curves came, sorted, and their points by position."""
        known = sorted(set(run_ids) & self._points.keys())
        for place, run_id in enumerate(known):
            self._points[run_id]["run"] = place
        return known, [self._points[run_id] for run_id in known]


def training_curves(
    client: MlflowClient, runs: pd.DataFrame, study: str = "", came: FoundCurves | None = None
) -> pd.DataFrame:
    """The metric, losses and seconds of every epoch of trainings.

    Curves that did not come with their runs are queried; those of ended runs are kept below the cache folder, by
    server, run and end time.

    Args:
        runs: columns `run_id`, `end_time` (ms, missing where it goes on), `metric` and `share`, as from
            `reader.trainings`.
        study: each has a file of its own in the cache; those without a name share one.
        came: curves that need no query.

    Returns:
        Columns `run_id` str, `epoch` int64 (1…N), `objective` (the metric of the run), `valid_loss`, `train_loss` and
        `epoch_seconds`, all float64 and nan where nothing was logged; sorted by run and epoch. A run without any epoch
        has no row. Of an epoch that was logged twice the later value counts.
    """
    path = curve_cache.path_of(server_address(client), study)
    asked = runs.drop_duplicates("run_id").set_index("run_id")[["end_time", "metric", "share"]]
    known, points = (came or FoundCurves()).of(asked.index)
    tagged, asked = _table(known, points, _shares(runs)), asked.drop(known)
    others = _asked_for(client, path, asked) if len(asked) else tagged.iloc[:0]
    filled = [table for table in (tagged, others) if len(table)] or [tagged]
    return pd.concat(filled, ignore_index=True).sort_values(["run_id", "epoch"], ignore_index=True).astype(COLUMNS)


def _shares(runs: pd.DataFrame) -> set[str]:
    """The runs whose metric is a share, of which other values than 0 to 1 are missing."""
    return set(runs.loc[runs["share"].astype(bool), "run_id"])


def _asked_for(client: MlflowClient, path: Path | None, runs: pd.DataFrame) -> pd.DataFrame:
    """Curves of runs from the cache, else from the server or store.

    Args:
        runs: `end_time`, `metric` and `share` by run id.
    """
    ends = runs["end_time"].astype("Int64")
    kept = curve_cache.load(path)
    kept = kept[(kept["end_time"] == kept["run_id"].map(ends)).fillna(False).astype(bool)]
    known = set(kept["run_id"])
    shares = _shares(runs.reset_index())
    tables = []
    for metric, group in runs[~runs.index.isin(known)].groupby("metric", sort=True):
        asked = sorted(group.index)
        tables.append(_table(asked, [*histories(client, asked, str(metric))], shares))
    found = pd.concat(tables, ignore_index=True) if tables else _table([], [], shares)
    ended = found.assign(end_time=found["run_id"].map(ends)).dropna(subset=["end_time"])
    if len(ended):
        curve_cache.save(path, ended)
    if kept.empty:
        return found
    return pd.concat([kept[list(COLUMNS)], found], ignore_index=True) if len(found) else kept[list(COLUMNS)]


def curves_of(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Curves from a table of text, by the same rules and with the same columns as `training_curves`.

    Args:
        rows: columns `COLUMNS`, all of str; a row without an epoch or any number is left out.
        runs: the trainings, with `run_id` and `share`.
    """
    ids = rows["run_id"].map(printable)
    run_ids = sorted(set(ids))
    places = {run_id: place for place, run_id in enumerate(run_ids)}
    # pandas' own reading is exact from pandas 3 on.
    epochs = rows["epoch"].map(read_number).to_numpy(dtype=np.float64)
    whole = (epochs >= 1) & (epochs <= MOST_EPOCHS) & (epochs == np.floor(epochs))
    parts = []
    for number, metric in enumerate(METRICS):
        values = rows[metric].map(read_number).to_numpy(dtype=np.float64)
        known = whole & np.isfinite(values)
        points = np.empty(int(known.sum()), dtype=POINT)
        points["run"], points["metric"] = ids[known].map(places), number
        points["epoch"], points["value"] = epochs[known], values[known]
        parts.append(points)
    return _table(run_ids, parts, _shares(runs))


def _table(run_ids: list[str], parts: list[Points], shares: set[str]) -> pd.DataFrame:
    """A row per run and epoch; of several points of one cell the last counts.

    Args:
        run_ids: sorted; what the points' runs are positions in.
        shares: those whose metric is a share.
    """
    points = np.concatenate(parts) if parts else np.empty(0, dtype=POINT)
    points = points[_possible(points, np.array([run_id in shares for run_id in run_ids], dtype=bool))]
    rows, row_of = np.unique(points["run"].astype(np.int64) * (MOST_EPOCHS + 1) + points["epoch"], return_inverse=True)
    values = np.full((len(rows), len(METRICS)), np.nan)
    values[row_of, points["metric"]] = points["value"]
    columns = {
        "run_id": np.array(run_ids, dtype=object)[rows // (MOST_EPOCHS + 1)],
        "epoch": rows % (MOST_EPOCHS + 1),
        **{metric: values[:, number] for number, metric in enumerate(METRICS)},
    }
    return pd.DataFrame(columns).astype(COLUMNS)


def _possible(points: Points, shares: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which values a training can have, since others may have logged what none gives.

    Args:
        shares: `(runs,)`, whose metric is a share.
    """
    epoch, metric, value = points["epoch"], points["metric"], points["value"]
    is_share = shares[points["run"]] & (metric == METRICS.index(names.OBJECTIVE))
    lowest = np.where(is_share | (metric == METRICS.index("epoch_seconds")), 0.0, -LARGEST_AMOUNT)
    highest = np.where(is_share, 1.0, LARGEST_AMOUNT)
    return np.asarray((epoch >= 1) & (epoch <= MOST_EPOCHS) & (value >= lowest) & (value <= highest))
