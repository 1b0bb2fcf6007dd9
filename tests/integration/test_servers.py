"""A tracking server over HTTP, and servers that are not there."""

from __future__ import annotations

import time
from pathlib import Path

import mlflow
import pytest
from conftest import STUDY, Entry
from mlflow.tracking import MlflowClient


def test_a_study_over_http(
    server: str, store: str, entry: Entry, grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    mlflow.set_tracking_uri(server)
    try:
        arguments = ["--study", "remote", "--grid", str(grid_file), "--epochs", "1", *STUDY]
        ended = entry("sweep", *arguments, "--strategies", "full,easiest:0.3")
        assert ended.status == 0, ended.err
        reported = entry("report", "--study", "remote", "--out", str(tmp_path), "--bootstrap", "20")
        assert reported.status == 0, reported.err
        # Table, confusion and embeddings come from the server's artifacts, each where it is needed.
        for strategy in ("hardest:0.2,by=el2n", "easiest-classes:3", "k-center:0.1"):
            made = entry("materialize", "--strategy", strategy, "--study", "remote")
            assert made.status == 0, made.err
            assert "latest are of run" in made.err
        client = MlflowClient(server)
        experiment = client.get_experiment_by_name("remote")
        assert experiment
        assert experiment.artifact_location.startswith("mlflow-artifacts:")
        page = (tmp_path / "remote" / "index.html").read_text()
        run = client.search_runs([experiment.experiment_id], "tags.`proxyflow.kind` = 'training'")[0]
        # What is the same in every run's address stands once.
        assert f'"links":"{server}/#/experiments/{experiment.experiment_id}/runs/"' in page
        assert f'"{run.info.run_id}"' in page
    finally:
        mlflow.set_tracking_uri(store)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "http://name.invalid:5000", "mysql+pymysql://u:secret@127.0.0.1:9/x"]
)
def test_a_server_that_is_not_there_is_said_soon(
    store: str, entry: Entry, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    try:
        begun = time.monotonic()
        for name in ("train", "report", "sweep"):
            ended = entry(name)
            assert ended.status == 2
            assert ended.err.count("\n") == 1
            assert ended.err.startswith("error: the tracking ")
            assert "secret" not in ended.err
        assert time.monotonic() - begun < 30
    finally:
        mlflow.set_tracking_uri(store)


def test_a_server_that_answers_with_an_error_is_said_soon(
    store: str, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *args: object) -> None:
            pass

    broken = HTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=broken.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{broken.server_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    try:
        begun = time.monotonic()
        ended = entry("report")
        assert ended.status == 2
        assert "answers with status 503" in ended.err
        assert time.monotonic() - begun < 15
    finally:
        broken.shutdown()
        broken.server_close()
        mlflow.set_tracking_uri(store)
