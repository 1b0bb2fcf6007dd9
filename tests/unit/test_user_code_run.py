"""The run of a training as the user's program sees it: its own variables, none of ours, and what it has logged."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from proxyflow.tracking import mlflow_defaults
from proxyflow.tracking.delivery.retrying import RetryingClient
from proxyflow.tracking.runs.user_code import UserCodeRun


class Client:
    """An MLflow client whose run has some metrics, or that raises an error."""

    tracking_uri = "sqlite:///relative.db"

    def __init__(self, error: Exception | None = None, **metrics: list[tuple[int, int, float]]) -> None:
        self.error, self.metrics, self.calls = error, metrics, 0

    def get_metric_history(self, run_id: str, name: str) -> list[Any]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return [SimpleNamespace(timestamp=t, step=s, value=v) for t, s, v in self.metrics.get(name, ())]

    def get_run(self, run_id: str) -> Any:
        values = {name: points[-1][2] for name, points in self.metrics.items()}
        return SimpleNamespace(data=SimpleNamespace(metrics=values))


def run_of(client: Any) -> UserCodeRun:
    return UserCodeRun(cast(Any, SimpleNamespace(client=client, id="0123")), "7")


def test_a_program_has_the_users_variables_and_its_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = dict.fromkeys(mlflow_defaults.NOT_THE_USERS, "ours")
    base = {
        **ours,
        "HOME": "/home/user",
        "MLFLOW_TRACKING_TOKEN": "secret",
        "MLFLOW_EXPERIMENT_NAME": "another",
        "MLFLOW_RUN_NAME": "another",
        "MLFLOW_RUN_ID": "another",
        "PROXYFLOW_MLFLOW_DEFAULTS": "x",
    }
    assert run_of(Client()).environment(base) == {
        "HOME": "/home/user",
        "MLFLOW_TRACKING_TOKEN": "secret",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/relative.db",
        "MLFLOW_EXPERIMENT_ID": "7",
        "MLFLOW_RUN_ID": "0123",
    }
    assert base["MLFLOW_RUN_ID"] == "another", "the variables of this process stay"


def test_values_come_in_the_order_in_which_they_were_logged() -> None:
    run = run_of(Client(loss=[(20, 1, 0.5), (10, 0, 1.0), (20, 0, 0.7)]))
    assert run.history("loss") == [(0, 1.0), (0, 0.7), (1, 0.5)]
    assert run.history("accuracy") == []


def test_a_run_without_the_metric_has_no_history() -> None:
    error = MlflowException("no such metric", error_code=RESOURCE_DOES_NOT_EXIST)
    assert run_of(Client(error)).history("loss") == ()


def test_an_outage_is_waited_for_only_where_it_is_asked_for() -> None:
    client = Client(requests.ConnectionError("no route"))
    run = run_of(RetryingClient(cast(Any, client), 0.0, lambda text: None))
    assert run.history("loss", wait=False) is None
    assert client.calls == 1
    with pytest.raises(requests.ConnectionError):
        run.history("loss")
    assert client.calls > 1


@pytest.mark.parametrize("wait", [True, False])
def test_a_refusal_is_raised(wait: bool) -> None:
    with pytest.raises(MlflowException):
        run_of(Client(MlflowException("a bug", error_code=INTERNAL_ERROR))).history("loss", wait)


def test_the_last_step_of_some_metrics() -> None:
    run = run_of(Client(loss=[(1, 90, 0.5)], objective=[(1, 5, 1.0), (2, 3, 1.0)]))
    assert run.last_step(["objective", "train_seconds"]) == 5
    assert run.last_step(["train_seconds"]) == -1


def test_variables_that_the_user_has_set_are_the_users_also_in_further_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = sorted(mlflow_defaults.OWN_DEFAULTS)
    with monkeypatch.context() as patch:
        for name in (*names, mlflow_defaults._MARK):
            patch.delenv(name, raising=False)
        patch.setenv(names[0], "of the user")
        first = importlib.reload(mlflow_defaults)
        assert names[0] not in first.NOT_THE_USERS
        assert os.environ[names[0]] == "of the user"
        assert sorted(first.NOT_THE_USERS) == names[1:]
        again = importlib.reload(mlflow_defaults)  # as a worker's process does, with this one's variables
        assert sorted(again.NOT_THE_USERS) == names[1:]
        for name in names:
            patch.setenv(name, "of the user")
        patch.delenv(mlflow_defaults._MARK)
        assert not importlib.reload(mlflow_defaults).NOT_THE_USERS
        assert not importlib.reload(mlflow_defaults).NOT_THE_USERS
    importlib.reload(mlflow_defaults)
