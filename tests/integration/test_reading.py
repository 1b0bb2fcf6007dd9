"""What is read over HTTP, in pages and in bulk, is what MLflow's own client gives run by run."""

from __future__ import annotations

import math
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from proxyflow.tracking import names, rest
from proxyflow.tracking.connection import connect
from proxyflow.tracking.queries import pages
from proxyflow.tracking.queries.curves import training_curves
from proxyflow.tracking.queries.histories import BULK, METRICS
from proxyflow.tracking.queries.reader import search, trainings
from proxyflow.tracking.queries.tracked_run import from_client

COUNT = 23

# Under what trainings log what is read.
LOGGED = ("valid_accuracy", *METRICS[1:])


@pytest.fixture(scope="module")
def experiment(server: str) -> str:
    """Trainings of which some are unusual: going on, failed, with an empty param, with what is no number."""
    client = MlflowClient(server)
    made = client.create_experiment("reading")
    for number in range(COUNT):
        tags = {names.KIND: "training", names.STRATEGY: "full", names.CONFIG: f"lr={number}", names.SEED: "3"}
        run = client.create_run(made, start_time=1_000 + number // 2, tags=tags, run_name=f"Übung {number}")
        steps = [
            Metric(metric, number / 100 + step / 1000 + place / 8, step, step)
            for place, metric in enumerate(LOGGED)
            for step in range(1, 6 - place)
        ]
        once = [Metric("best_valid_accuracy", number / 30, 0, 0), Metric("train_flops", math.nan, 0, 0)]
        unusual = [Metric("cost_usd", math.inf, 0, 0), Metric("train_seconds", 0.0, 0, 0)]
        params = [Param("n_valid", "500"), Param("device", ""), Param("epochs", "5")]
        status = [RunTag(names.STATUS, "running" if number == 7 else "finished"), RunTag("empty", "")]
        client.log_batch(run.info.run_id, [*steps, *once, *unusual], params, status if number else [])
        if number != 7:
            client.set_terminated(run.info.run_id, "FAILED" if number == 0 else "FINISHED", 5_000 + number)
    client.create_run(made, tags={names.KIND: "score"})
    return str(made)


@pytest.fixture
def client(server: str, experiment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("PROXYFLOW_CACHE_DIR", str(tmp_path))
    # The module's own choice of a store would come before the variable.
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: server)
    return connect()


@pytest.mark.parametrize(("first", "later"), [(200, 500), (1, 3), (5, 6), (23, 5), (22, 1)])
def test_pages_that_are_asked_for_side_by_side_hold_each_run_once(
    client: MlflowClient, experiment: str, first: int, later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FIRST_PAGE_SIZE", first)
    monkeypatch.setattr(pages, "PAGE_SIZE", later)
    condition = "tags.`proxyflow.kind` = 'training'"
    runs = client.search_runs([experiment], condition, order_by=["attributes.start_time DESC"])
    expected, found = [from_client(run) for run in runs], list(search(client, [experiment], KIND="training"))
    assert len(expected) == COUNT
    assert repr(found) == repr(expected)  # what is not a number equals nothing, and its text itself


def test_a_server_with_tokens_of_another_kind_is_asked_page_by_page(
    client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trainings(client, [experiment])
    monkeypatch.setattr(pages, "FIRST_PAGE_SIZE", 4)
    monkeypatch.setattr(pages, "PAGE_SIZE", 6)
    monkeypatch.setattr(pages, "_token", lambda offset: "of another kind")
    pd.testing.assert_frame_equal(trainings(client, [experiment]), expected)


def test_trainings_are_the_same_from_the_server_and_from_its_database(
    client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_http = trainings(client, [experiment])
    assert list(over_http["status"].value_counts().sort_index().items()) == [
        *(("failed", 1), ("finished", COUNT - 2), ("running", 1))
    ]
    monkeypatch.setattr(rest, "is_http", lambda client: False)
    pd.testing.assert_frame_equal(trainings(client, [experiment]), over_http)


@pytest.mark.parametrize("way", ["bulk", "run by run"])
def test_curves_over_http_are_those_of_the_client(
    client: MlflowClient, experiment: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(client: MlflowClient, method: str, path: str, **message: object) -> object:
        asked.append(path)
        return original(client, method, path if way == "bulk" else path.replace("bulk", "no-such"), **message)

    original = rest.request
    runs = trainings(client, [experiment])
    monkeypatch.setattr(rest, "request", ask)
    found = training_curves(client, runs, "reading")
    assert set(asked) == {BULK}
    assert len(asked) == len(METRICS) or way == "run by run"
    for metric, column in zip(LOGGED, METRICS, strict=True):
        expected = [
            (run_id, value.step, value.value)
            for run_id in sorted(runs["run_id"])
            for value in client.get_metric_history(run_id, metric)
        ]
        known = found[["run_id", "epoch", column]].dropna()
        assert [tuple(row) for row in known.itertuples(index=False)] == expected
    requests = len(asked)
    pd.testing.assert_frame_equal(
        training_curves(client, runs[runs["status"] == "finished"], "reading"),
        found[found["run_id"].isin(runs.loc[runs["status"] == "finished", "run_id"])].reset_index(drop=True),
    )
    assert len(asked) == requests, "ended runs are asked for once"
