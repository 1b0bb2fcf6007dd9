"""A study's experiment carries views of its trainings, and keeps what people have made of it."""

from __future__ import annotations

import json
from typing import cast

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.tracking import connection
from proxyflow.tracking.runs.writer import RunWriter
from proxyflow.tracking.ui.views import VIEWS, create_saved_views


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


def test_who_may_not_change_a_study_may_work_on_it(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: str) -> None:
        raise MlflowException("not yours")

    client = cast(MlflowClient, connection.connect())
    made = client.create_experiment("not ours")
    monkeypatch.setattr(client, "set_experiment_tag", refuse)
    create_saved_views(client, made)
