"""Runs are found once each, and their addresses lead to the server's own page of a run without telling a password."""

from __future__ import annotations

from typing import cast

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from proxyflow.tracking.queries import reader
from proxyflow.tracking.queries.reader import run_url, search
from proxyflow.tracking.queries.tracked_run import TrackedRun


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/#/experiments/7/runs/ab?workflowType=machine_learning"),
        ("https://host/mlflow/", "https://host/mlflow/#/experiments/7/runs/ab?workflowType=machine_learning"),
        ("https://me:s3cret@host/mlflow", "https://host/mlflow/#/experiments/7/runs/ab?workflowType=machine_learning"),
        ("sqlite:///runs.db", ""),
        ("postgresql://me:s3cret@host/runs", ""),
    ],
)
def test_a_run_has_the_address_that_the_ui_shows_it_at(server: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: server)
    assert run_url("7", "ab") == url


def test_a_run_that_begins_while_pages_are_read_doubles_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [TrackedRun(name, name, "finished", {}, {}, {}, 0, 1) for name in "abc"]
    monkeypatch.setattr(reader, "run_pages", lambda client, experiments, condition: iter([runs[:2], runs[1:]]))
    assert list(search(cast(MlflowClient, None), ["7"], KIND="training")) == runs
