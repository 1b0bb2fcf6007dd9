"""Logs that ended processes have left are delivered by the next command, and undeliverable ones block nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from proxyflow.core.errors import StoreFailed, UserError
from proxyflow.tracking import names
from proxyflow.tracking.connection import server_address
from proxyflow.tracking.delivery.write_ahead_log import Record, WriteAheadLog, delivery_lock, kept_artifacts, log_folder
from proxyflow.tracking.runs import run
from proxyflow.tracking.runs.owner import MAX_HEARTBEAT_AGE_SECONDS, this_process
from proxyflow.tracking.runs.writer import RunWriter

DEAD = f"{this_process().partition(' ')[0]} 4194305 17.00"  # above the largest process id
ELSEWHERE = "another-host/1 17 3.5"
INFO = SimpleNamespace(lifecycle_stage="active", status="RUNNING")


@dataclass
class Server:
    """An MLflow client of a server that has any run, and notes those that are ended and the models that are ready."""

    heartbeat: float = 0.0
    done: list[str] = field(default_factory=list)

    def get_run(self, run_id: str) -> Any:
        tags = {names.STUDY: "shoes", names.OWNER: ELSEWHERE, names.HEARTBEAT: f"{self.heartbeat}"}
        return SimpleNamespace(info=INFO, data=SimpleNamespace(tags=tags))

    def log_batch(self, run_id: str, *given: object, **more: object) -> None:
        pass

    def set_terminated(self, run_id: str, **given: object) -> None:
        self.done.append(run_id)

    def finalize_logged_model(self, model_id: str, status: str) -> None:
        self.done.append(f"{model_id} {status}")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the logs are."""
    monkeypatch.setenv("PROXYFLOW_STATE_DIR", str(tmp_path))
    return log_folder(server_address())


def leave(folder: Path, run_id: str, owner: str = DEAD, *kept: str) -> Path:
    """Leaves the log of a run that has ended, and artifacts."""
    path = folder / f"{run_id}.jsonl"
    log = WriteAheadLog(path, owner)
    log.append(Record(tags={names.STATUS: "finished"}, end=("FINISHED", 17)))
    log.close()
    for name in ("subset/manifest.json", *kept):
        file = kept_artifacts(path) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    return path


def writer_of(server: Server) -> RunWriter:
    return RunWriter(cast(Any, server), "hats")


@pytest.mark.parametrize(
    "error", [StoreFailed("its bucket is gone"), UserError("its host is not yours"), OSError(5, "Input/output error")]
)
def test_a_store_that_refuses_blocks_no_other_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    tried: list[str] = []

    def upload(client: object, owner: str, *given: object) -> None:
        tried.append(owner)
        if owner == "a":
            raise error

    monkeypatch.setattr(run, "upload", upload)
    server, left = Server(), [leave(folder, name) for name in "ab"]
    writer = writer_of(server)
    for _ in range(2):  # a sweep asks often
        writer.recovery.deliver()
    [line] = capsys.readouterr().err.splitlines()
    assert all(word in line for word in ("run a ", "study shoes", str(left[0]), str(error)))
    assert server.done == ["b"]
    assert tried == ["a", "b"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.files", "a.jsonl"]
    monkeypatch.setattr(run, "upload", lambda *given, **named: None)
    writer_of(server).recovery.deliver()
    assert server.done == ["b", "a"]
    assert not list(folder.iterdir())


def test_a_run_is_delivered_with_its_files_and_models(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []

    def upload(client: object, owner: str, folder: Path, path: str = "", retry_timeout: float | None = None) -> None:
        sent.extend((owner, f"{path}/{file.name}") for file in folder.iterdir())

    monkeypatch.setattr(run, "upload", upload)
    server = Server()
    leave(folder, "a", DEAD, "m-7/MLmodel", "a/output.log")
    writer_of(server).recovery.deliver()
    assert sent == [("a", "/output.log"), ("m-7", "/MLmodel"), ("a", "subset/manifest.json")]
    assert server.done == ["m-7 READY", "a"]


def test_a_deleted_model_blocks_no_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def upload(client: object, owner: str, *given: object, **named: object) -> None:
        if owner == "m-7":
            raise MlflowException("no such model", error_code=RESOURCE_DOES_NOT_EXIST)

    monkeypatch.setattr(run, "upload", upload)
    server = Server()
    leave(folder, "a", DEAD, "m-7/MLmodel")
    writer_of(server).recovery.deliver()
    assert server.done == ["a"]
    assert not list(folder.iterdir())
    assert "m-7" in capsys.readouterr().err


def test_a_log_is_delivered_by_one_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "upload", lambda *given, **named: None)
    server, path = Server(), leave(folder, "a")
    with delivery_lock(path) as alone:
        assert alone
        writer_of(server).recovery.deliver()
    assert server.done == []
    assert kept_artifacts(path).exists()
    writer_of(server).recovery.deliver()
    assert server.done == ["a"]


def test_a_log_of_an_ended_container_is_delivered_once_its_run_is_stale(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "upload", lambda *given, **named: None)
    server = Server(heartbeat=time.time())
    leave(folder, "a", ELSEWHERE)
    writer_of(server).recovery.deliver()
    assert server.done == []
    server.heartbeat -= MAX_HEARTBEAT_AGE_SECONDS + 60
    writer_of(server).recovery.deliver()
    assert server.done == ["a"]
    assert capsys.readouterr().err == ""
