"""A sweep that is interrupted in any way is resumed by the same command: every run finished exactly once."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import STUDY, Ended, Entry, spawn
from mlflow.entities import Run
from mlflow.tracking import MlflowClient


def runs(study: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(study)
    return list(client.search_runs([found.experiment_id])) if found else []


def wait_for_trainings(child: subprocess.Popen[str], study: str, count: int) -> None:
    """Waits until so many trainings are finished and the next one has begun."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        states = Counter(
            run.data.tags["proxyflow.status"]
            for run in runs(study)
            if run.data.tags.get("proxyflow.kind") == "training"
        )
        if states["finished"] >= count and states["running"]:
            return
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.1)
    raise AssertionError("the sweep did not get that far")


def test_a_signal_amid_a_call_to_the_store_leaves_no_trace_of_the_stores_own(store: str) -> None:
    import logging

    from proxyflow.tracking.connection import connect

    connect()
    assert not logging.getLogger("sqlalchemy.pool.impl.QueuePool").isEnabledFor(logging.ERROR)


@pytest.mark.parametrize(
    ("number", "status", "left"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "interrupted"), (signal.SIGKILL, -9, "running")],
)
def test_an_interrupted_sweep_is_resumed(
    store: str, entry: Entry, grid_file: Path, tmp_path: Path, number: int, status: int, left: str
) -> None:
    study = f"killed by {number}"
    arguments = ["--study", study, "--grid", str(grid_file), "--strategies", "full,random:0.5", "--epochs", "2", *STUDY]
    child = spawn(store, Path.cwd(), "sweep", *arguments)
    wait_for_trainings(child, study, 2)
    child.send_signal(number)
    ended = Ended(child.wait(timeout=60), *child.communicate())
    assert ended.status == status, ended.err
    assert "Traceback" not in ended.err
    assert {run.data.tags["proxyflow.status"] for run in runs(study)} == {"finished", left}
    if left == "interrupted":
        assert "again resumes" in ended.err
        assert not [run for run in runs(study) if run.info.status == "RUNNING"]

    resumed = entry("sweep", *arguments)
    assert resumed.status == 0, resumed.err
    everything = runs(study)
    trainings = [run for run in everything if run.data.tags["proxyflow.kind"] == "training"]
    finished = Counter(
        run.data.tags["proxyflow.run_key"] for run in trainings if run.data.tags["proxyflow.status"] == "finished"
    )
    assert len(finished) == 8
    assert set(finished.values()) == {1}
    assert not [run for run in everything if run.info.status == "RUNNING"]
    assert not [run for run in everything if run.data.tags["proxyflow.status"] == "running"]
    if left == "running":
        assert "whose process had died" in resumed.err
        reasons = {run.data.tags.get("proxyflow.error") for run in everything}
        assert "its process died before the run ended" in reasons


def test_a_live_workers_run_is_left_alone(store: str) -> None:
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs import RunWriter

    writer = RunWriter(connect(), "alive")
    with writer.open("study", "mine", "A run that this process is working on.") as run:
        assert writer.reap() == 0
        assert MlflowClient().get_run(run.id).info.status == "RUNNING"


def test_a_run_that_died_while_it_was_ended_does_not_stay_running(store: str) -> None:
    from proxyflow.tracking import names
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.owner import this_process
    from proxyflow.tracking.runs import RunWriter

    client = connect()
    writer = RunWriter(client, "half ended")
    host = this_process().split(" ")[0]
    made = client.create_run(
        writer.experiment_id,
        tags={names.STUDY: "half ended", names.STATUS: "finished", names.OWNER: f"{host} 999999 1.0"},
    )
    assert writer.reap() == 1
    run = client.get_run(made.info.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[names.STATUS] == "finished"


def test_a_success_that_cannot_be_written_is_none(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs import Run, RunWriter

    writer = RunWriter(connect(), "unwritten")
    real = Run.set_tags

    def refuse(self: Run, tags: dict[str, str]) -> None:
        if tags.get("proxyflow.status") == "finished":
            raise ConnectionError("gone")
        real(self, tags)

    monkeypatch.setattr(Run, "set_tags", refuse)
    with pytest.raises(ConnectionError), writer.open("study", "x", "A run whose end cannot be written."):
        pass


@pytest.mark.parametrize(("deliver", "expected"), [(True, 1), (False, 0)])
def test_signals_wait_until_an_end_is_written(deliver: bool, expected: int) -> None:
    from proxyflow.tracking.runs import held_signals

    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with held_signals(deliver):
            signal.raise_signal(signal.SIGTERM)
            assert came == []
        assert len(came) == expected
    finally:
        signal.signal(signal.SIGTERM, before)


def test_two_sweeps_of_one_study_share_the_work(store: str, grid_file: Path) -> None:
    arguments = ["--study", "shared", "--grid", str(grid_file), "--strategies", "full", "--epochs", "2", *STUDY]
    first = spawn(store, Path.cwd(), "sweep", *arguments)
    wait_for_trainings(first, "shared", 1)
    second = spawn(store, Path.cwd(), "sweep", *arguments)
    for child in (first, second):
        _, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    trainings = [run for run in runs("shared") if run.data.tags["proxyflow.kind"] == "training"]
    keys = Counter(run.data.tags["proxyflow.run_key"] for run in trainings)
    assert len(keys) == 4
    assert set(keys.values()) == {1}


def test_one_failed_training_fails_alone(entry: Entry, grid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.training.engine import DEFAULT_ENGINE, get_engine

    engine = get_engine(DEFAULT_ENGINE)
    real = type(engine).train

    def sometimes(self: object, subset: object, spec: object, *args: object, **kwargs: object) -> object:
        if spec.hyperparameters.optimizer == "sgd":
            raise RuntimeError("out of luck")
        return real(engine, subset, spec, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(type(engine), "train", sometimes)
    arguments = [
        "--study",
        "partly",
        "--grid",
        str(grid_file),
        "--strategies",
        "full,random:0.5",
        "--epochs",
        "1",
        *STUDY,
    ]
    ended = entry("sweep", *arguments)
    assert ended.status == 1
    assert "2 of 8 trainings failed" in ended.err
    assert "out of luck" in ended.err
    states = Counter(
        run.data.tags["proxyflow.status"] for run in runs("partly") if run.data.tags["proxyflow.kind"] == "training"
    )
    assert states == {"finished": 6, "failed": 2}
    monkeypatch.undo()
    assert entry("sweep", *arguments).status == 0
