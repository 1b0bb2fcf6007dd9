"""A study's experiment carries views of its trainings, and keeps what people have made of it."""

from __future__ import annotations

import json
from typing import cast

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.tracking import connection, names
from proxyflow.tracking.runs.writer import RunWriter
from proxyflow.tracking.ui.views import VIEWS, create_saved_views, save_view, search_view


def test_a_new_study_has_its_views_and_a_description(store: str) -> None:
    client = connection.connect()
    made = RunWriter(client, "new").experiment_id
    tags = client.get_experiment(made).tags
    assert len(VIEWS) == 3
    for view in VIEWS:
        saved = json.loads(tags[f"mlflow.sharedViewState.{view.key}"])
        # What MLflow's UI takes for a saved view; else it would leave it out of its menu.
        assert isinstance(saved["name"], str)
        assert isinstance(saved["createdAt"], int)
        state = json.loads(saved["state"])
        assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`objective`", "lowest" in view.key)
        assert {"params.`strategy`", "params.`config`", "metrics.`wall_seconds`"} <= set(state["selectedColumns"])
        assert f"#/experiments/{made}/runs?viewStateShareKey={view.key}&" in tags["mlflow.note.content"]
    assert json.loads(json.loads(tags["mlflow.sharedViewState.proxyflow-strategies"])["state"])["groupBy"] == {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "param", "groupByData": "strategy"}],
    }


def test_an_older_study_gets_what_it_lacks_and_keeps_its_own(store: str) -> None:
    client = connection.connect()
    made = client.create_experiment("older", tags={"mlflow.note.content": "Ours."})
    create_saved_views(client, made)
    tags = client.get_experiment(made).tags
    assert tags["mlflow.note.content"] == "Ours."
    assert sum(key.startswith("mlflow.sharedViewState.") for key in tags) == len(VIEWS)
    before = dict(tags)
    create_saved_views(client, made)
    assert client.get_experiment(made).tags == before


def test_a_search_has_a_view_of_its_own_trainings(store: str) -> None:
    client = connection.connect()
    made = RunWriter(client, "searched").experiment_id
    view = search_view("folder:" + "a/very/long/path" * 20, "0a" * 32, ascending=True)
    for _ in range(2):
        save_view(client, made, view)
    tags = client.get_experiment(made).tags
    assert sum(key.startswith("mlflow.sharedViewState.") for key in tags) == len(VIEWS) + 1
    saved = json.loads(tags[f"mlflow.sharedViewState.{view.key}"])
    assert len(saved["name"]) < 100
    state = json.loads(saved["state"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`objective`", True)
    assert state["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "strategy"}]
    assert state["selectedColumns"] == state["columnOrder"] == list(state["columnWidths"])
    columns = {
        "params.`strategy`",
        "params.`config`",
        "params.`seed`",
        "metrics.`objective`",
        "metrics.`train_seconds`",
    }
    assert columns < set(state["selectedColumns"])
    # What its filter finds: trainings that a search of this data set has started.
    reason, fingerprint = {names.REASON: "{}"}, {names.DATASET_FINGERPRINT: "0a" * 32}
    other = {names.DATASET_FINGERPRINT: "0b" * 32}
    training, subset = {names.KIND: "training"}, {names.KIND: "subset"}
    for tagged in (training | reason | other, training | fingerprint, subset | reason | fingerprint):
        client.create_run(made, tags=tagged)
    own = client.create_run(made, tags=training | reason | fingerprint)
    assert [run.info.run_id for run in client.search_runs([made], state["searchFilter"])] == [own.info.run_id]


def test_who_may_not_change_a_study_may_work_on_it(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: str) -> None:
        raise MlflowException("not yours")

    client = cast(MlflowClient, connection.connect())
    made = client.create_experiment("not ours")
    monkeypatch.setattr(client, "set_experiment_tag", refuse)
    create_saved_views(client, made)
