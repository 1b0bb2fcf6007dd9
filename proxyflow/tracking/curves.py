"""Accuracy after each epoch of many trainings: in bulk, and from the disk where an ended run was asked for before.

MLflow's client knows one request per run and metric. Its server answers for many runs at once, which its own pages
use: 864 runs of 20 epochs take half a second, not four. It is no documented call, so a server that refuses it is asked
run by run. The documented call for many runs takes twice as long, and thins out what is long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd
from mlflow.tracking import MlflowClient

from proxyflow.errors import printable
from proxyflow.tracking import curve_cache, rest
from proxyflow.tracking.ahead import ask_ahead
from proxyflow.tracking.connection import server_address

METRIC = "valid_accuracy"
COLUMNS = {"run_id": "str", "epoch": "int64", METRIC: "float64"}
BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
# In one request. A server answers for 100, whose ids make a line longer than the 4,094 bytes that gunicorn reads, which
# older servers run on; a proxy's path has to fit in, too.
RUNS = 90
MOST_EPOCHS = 1_000_000
VALUES = 25_000  # that it gives in one answer; what is beyond it leaves out without a word


def accuracy_curves(client: MlflowClient, runs: pd.DataFrame, study: str = "") -> pd.DataFrame:
    """Validation accuracy per epoch of trainings.

    Curves of runs that have ended are kept below the cache folder, by server, run and end time.

    Args:
        runs: columns `run_id` and `end_time` (ms, missing where it goes on), as from `reader.trainings`.
        study: each has a file of its own in the cache; those without a name share one.

    Returns:
        Columns `run_id` str, `epoch` int64 (1…N) and `valid_accuracy` float64 (0 to 1), sorted by run and epoch. A
        run without any epoch has no row. Of an epoch that was logged twice the later value counts.
    """
    path = curve_cache.path_of(server_address(client), study)
    ends = runs.drop_duplicates("run_id").set_index("run_id")["end_time"].astype("Int64")
    kept = curve_cache.load(path)
    kept = kept[(kept["end_time"] == kept["run_id"].map(ends)).fillna(False).astype(bool)]
    known = set(kept["run_id"])
    found = _joined(_asked(client, [run_id for run_id in ends.index if run_id not in known]))
    ended = found.assign(end_time=found["run_id"].map(ends)).dropna(subset=["end_time"])
    if len(ended):
        curve_cache.save(path, ended)
    return _joined([kept[list(COLUMNS)], found])


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)] or [_curves([])]
    whole = pd.concat(filled, ignore_index=True).drop_duplicates(["run_id", "epoch"], keep="last")
    return whole.sort_values(["run_id", "epoch"], ignore_index=True).astype(COLUMNS)


def _asked(client: MlflowClient, run_ids: list[str]) -> Iterator[pd.DataFrame]:
    if rest.is_server(client):
        for part in ask_ahead(client, _in_bulk, _pieces(run_ids, RUNS)):
            if part is None:
                break
            yield part
            run_ids = run_ids[RUNS:]
    yield from ask_ahead(client, _one_by_one, _pieces(run_ids, RUNS // 10))


def _pieces(run_ids: list[str], size: int) -> list[list[str]]:
    return [run_ids[begin : begin + size] for begin in range(0, len(run_ids), size)]


def _in_bulk(client: MlflowClient, run_ids: list[str]) -> pd.DataFrame | None:
    """The curves of at most `RUNS` runs, None where the server does not answer such a request."""
    wanted = {"run_id": run_ids, "metric_key": METRIC, "max_results": VALUES}
    answer = rest.ask(client, "GET", BULK, params=wanted)
    if 400 <= answer.status_code < 500:
        return None
    try:
        values = rest.content(answer, BULK)["metrics"]
    except (ValueError, LookupError, TypeError):  # something else stands at this address
        return None
    if len(values) < VALUES:
        return _curves([(each["run_id"], int(each["step"]), float(each["value"])) for each in values])
    if len(run_ids) == 1:
        return _one_by_one(client, run_ids)
    middle = len(run_ids) // 2
    halves = [_in_bulk(client, half) for half in (run_ids[:middle], run_ids[middle:])]
    return None if halves[0] is None or halves[1] is None else pd.concat(halves, ignore_index=True)


def _one_by_one(client: MlflowClient, run_ids: list[str]) -> pd.DataFrame:
    history = ((run_id, client.get_metric_history(run_id, METRIC)) for run_id in run_ids)
    return _curves([(run_id, each.step, each.value) for run_id, values in history for each in values])


def curves_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Curves from a table of text, by the same rules and with the same columns as `accuracy_curves`.

    Args:
        rows: columns `COLUMNS`, all of str; a row that holds no number is left out.
    """
    numbers = {name: pd.to_numeric(rows[name], errors="coerce") for name in ("epoch", METRIC)}
    found = pd.DataFrame({"run_id": rows["run_id"].map(printable), **numbers}).dropna()
    found = found[found["epoch"].between(1, MOST_EPOCHS) & (found["epoch"] % 1 == 0)]
    return _joined([_possible(found.astype(COLUMNS))])


def _curves(values: list[tuple[str, int, float]]) -> pd.DataFrame:
    return _possible(pd.DataFrame(values, columns=list(COLUMNS)).astype(COLUMNS))


def _possible(found: pd.DataFrame) -> pd.DataFrame:
    # Others may have logged what no training gives.
    return found[found["epoch"].between(1, MOST_EPOCHS) & found[METRIC].between(0, 1)]
