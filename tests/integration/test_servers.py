"""A tracking server over HTTP, and servers that are not there."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import mlflow
import pytest
from entry_points import STUDY, Entry
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
            assert "the latest are in run" in made.err
        client = MlflowClient(server)
        experiment = client.get_experiment_by_name("remote")
        assert experiment
        assert experiment.artifact_location.startswith("mlflow-artifacts:")
        page = (tmp_path / "remote" / "index.html").read_text()
        run = client.search_runs([experiment.experiment_id], "tags.`proxyflow.kind` = 'training'")[0]
        # What is the same in every run's address stands once.
        before = f"{server}/#/experiments/{experiment.experiment_id}/runs/"
        assert f'"links":{{"before":"{before}","after":"?workflowType=machine_learning"}}' in page
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
        assert time.monotonic() - begun < 120, "MLflow alone would try for minutes"
    finally:
        mlflow.set_tracking_uri(store)


class Answers(BaseHTTPRequestHandler):
    """A server that answers every request alike, but for those whose path holds a key of `others`."""

    status = 503
    others: ClassVar[dict[str, tuple[int, str]]] = {}

    def do_GET(self) -> None:
        told = (answer for part, answer in self.others.items() if part in self.path)
        status, body = next(told, (self.status, ""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def standing_in(handler: type[Answers], store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Such a server in the place of the store."""
    standing = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=standing.serve_forever, daemon=True).start()
    uri = f"http://me:s3cret@127.0.0.1:{standing.server_port}/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        standing.shutdown()
        standing.server_close()
        mlflow.set_tracking_uri(store)


def test_a_server_that_answers_with_an_error_is_said_soon(
    store: str, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing_in(Answers, store, monkeypatch):
        begun = time.monotonic()
        ended = entry("report")
        assert ended.status == 2
        assert "503" in ended.err
        assert time.monotonic() - begun < 60, "MLflow alone would try for minutes"


def test_a_server_that_does_not_know_the_user_says_how_to_sign_in(
    store: str, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(Answers):
        status = 401

    with standing_in(Closed, store, monkeypatch):
        ended = entry("report", "--study", "theirs")
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert "MLFLOW_TRACKING_USERNAME" in ended.err
    assert "s3cret" not in ended.err


def test_a_study_that_the_user_may_not_read_is_named(store: str, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(Answers):
        status = 200
        others: ClassVar[dict[str, tuple[int, str]]] = {
            "experiments/search": (200, "{}"),
            "get-by-name": (403, "Permission denied"),
        }

    with standing_in(Guarded, store, monkeypatch):
        ended = entry("report", "--study", "theirs")
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("error: study=theirs: ")
    assert "sign in" in ended.err
