"""Values of metrics per epoch of many runs: from the store's database, from its server in bulk, else run by run.

MLflow's client has one request per run and metric. Its server answers for many runs at once, which its own pages use,
and a store that is a database takes one query for hundreds of runs. Neither is a documented call: a server that refuses
the first is asked run by run, as is a store that is neither. The documented call for many runs thins out long curves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from proxyflow.tracking import names, rest
from proxyflow.tracking.delivery.retrying import call_with_retry, without_retries
from proxyflow.tracking.queries.prefetch import prefetch

# The metric that a training is judged by, under its own name, and three that are logged under these names.
METRICS = (names.OBJECTIVE, "valid_loss", "train_loss", "epoch_seconds")
# A value: the run's and the metric's position, the step at which it was logged.
POINT = np.dtype([("run", np.int32), ("metric", np.int8), ("epoch", np.int64), ("value", np.float64)])
Points = NDArray[Any]

BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
# In one request. A server answers for 100, whose ids make a line longer than the 4,094 bytes that gunicorn reads, which
# older servers run on; a proxy's path has to fit in, too.
RUNS = 90
VALUES = 25_000  # in one answer; further ones are left out silently
QUERIED = 500  # runs in one query of a database
ONE_BY_ONE = 3  # runs per work item, so that an interruption is noticed soon

Item = tuple[Sequence[str], Sequence[str]]  # runs and metrics


def columns_of(metric: str) -> dict[str, list[int]]:
    """Name under which trainings log a value per epoch, to its positions in `METRICS`.

    Args:
        metric: what the trainings are judged by; it may be one of the others.
    """
    found: dict[str, list[int]] = {}
    for position, name in enumerate((metric, *METRICS[1:])):
        found.setdefault(name, []).append(position)
    return found


def histories(client: MlflowClient, run_ids: Sequence[str], metric: str) -> Iterator[Points]:
    """Every value of `METRICS` that these runs have, in parts; of one epoch the value logged last comes last.

    Args:
        metric: the name of what they are judged by.

    Returns:
        Arrays of `POINT`, in which `run` is a position in `run_ids` and `metric` one in `METRICS`.
    """
    wanted = _Wanted({run_id: place for place, run_id in enumerate(run_ids)}, columns_of(metric))
    store = _database(client)
    if store is not None:
        for part in _pieces(run_ids, QUERIED):
            yield call_with_retry(client, partial(_from_database, store, wanted), part)
        return
    left: list[Item] = [(part, (name,)) for name in wanted.columns for part in _pieces(run_ids, RUNS)]
    if rest.is_http(client):
        for points in prefetch(client, partial(_in_bulk, wanted), list(left)):
            if points is None:
                break
            yield points
            left = left[1:]
    smaller = ((part, metrics) for run_ids, metrics in left for part in _pieces(run_ids, ONE_BY_ONE))
    yield from prefetch(client, partial(_one_by_one, wanted), smaller)


def _pieces(run_ids: Sequence[str], size: int) -> list[Sequence[str]]:
    return [run_ids[begin : begin + size] for begin in range(0, len(run_ids), size)]


@dataclass(frozen=True)
class _Wanted:
    """The values to query.

    Attributes:
        places: run id to the position that the answer has for it.
        columns: see `columns_of`.
    """

    places: Mapping[str, int]
    columns: Mapping[str, Sequence[int]]

    def points(self, values: Iterable[tuple[str, str, int, float]]) -> Points:
        """Points from run id, metric, step and value."""
        found = [
            (self.places[run_id], column, step, value)
            for run_id, metric, step, value in values
            for column in self.columns[metric]
        ]
        return np.array(found, dtype=POINT)


def _database(client: MlflowClient) -> Any:
    """The client's store where that is a database, else None."""
    store = getattr(getattr(without_retries(client), "_tracking_client", None), "store", None)
    return store if hasattr(store, "ManagedSessionMaker") else None


def _from_database(store: Any, wanted: _Wanted, run_ids: Sequence[str]) -> Points:
    from mlflow.store.tracking.dbmodels.models import SqlMetric

    # Rows and no objects, which would take ten times as long.
    query = (
        sqlalchemy.select(SqlMetric.run_uuid, SqlMetric.key, SqlMetric.step, SqlMetric.value)
        .where(SqlMetric.run_uuid.in_(run_ids), SqlMetric.key.in_(list(wanted.columns)), SqlMetric.is_nan.is_(False))
        .order_by(SqlMetric.timestamp, SqlMetric.step, SqlMetric.value)
    )
    with store.ManagedSessionMaker() as session:
        return wanted.points(session.execute(query))


def _in_bulk(wanted: _Wanted, client: MlflowClient, item: Item) -> Points | None:
    """One metric of at most `RUNS` runs, None where the server does not answer such a request."""
    run_ids, (metric,) = item
    params = {"run_id": run_ids, "metric_key": metric, "max_results": VALUES}
    answer = rest.request(client, "GET", BULK, params=params)
    if 400 <= answer.status_code < 500:
        return None
    try:
        values = rest.json_object(answer, BULK)["metrics"]
    except (ValueError, LookupError, TypeError):  # something else answers at this address
        return None
    if len(values) < VALUES:
        return wanted.points((each["run_id"], metric, int(each["step"]), float(each["value"])) for each in values)
    if len(run_ids) == 1:
        return _one_by_one(wanted, client, item)
    middle = len(run_ids) // 2
    first, second = (_in_bulk(wanted, client, (half, (metric,))) for half in (run_ids[:middle], run_ids[middle:]))
    return None if first is None or second is None else np.concatenate([first, second])


def _one_by_one(wanted: _Wanted, client: MlflowClient, item: Item) -> Points:
    run_ids, metrics = item
    return wanted.points(
        (run_id, metric, each.step, each.value)
        for run_id in run_ids
        for metric in metrics
        for each in client.get_metric_history(run_id, metric)
    )
