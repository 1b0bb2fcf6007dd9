"""A sweep that is interrupted in any way is resumed by the same command: every run finished exactly once."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from entry_points import SECONDS, STUDY, Ended, Entry, spawn
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from proxyflow.trainers import ImageTrainer, Job, Trained


def runs(study: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(study)
    return list(client.search_runs([found.experiment_id])) if found else []


def wait_for_trainings(child: subprocess.Popen[str], study: str, count: int) -> None:
    """Waits until so many trainings are finished and the next one is at work.

    Its params are the first that it says once it is claimed. Its epochs may be told of only when it ends: what is said
    within a second goes in one call.
    """
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        trainings = [run for run in runs(study) if run.data.tags.get("proxyflow.kind") == "training"]
        states = Counter(run.data.tags["proxyflow.status"] for run in trainings if run.data.params)
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
    [
        (signal.SIGINT, 130, "interrupted"),
        # Half a minute for a way that differs from the first by a number.
        pytest.param(signal.SIGTERM, 143, "interrupted", marks=pytest.mark.slow),
        (signal.SIGKILL, -9, "running"),
    ],
)
def test_an_interrupted_sweep_is_resumed(
    store: str, entry: Entry, grid_file: Path, tmp_path: Path, number: int, status: int, left: str
) -> None:
    study = f"killed by {number}"
    arguments = ["--study", study, "--grid", str(grid_file), "--strategies", "full,random:0.5", "--epochs", "2", *STUDY]
    child = spawn(store, Path.cwd(), "sweep", *arguments)
    wait_for_trainings(child, study, 2)
    child.send_signal(number)
    ended = Ended(child.wait(timeout=SECONDS), *child.communicate())
    assert ended.status == status, ended.err
    assert "Traceback" not in ended.err
    assert {run.data.tags["proxyflow.status"] for run in runs(study)} == {"finished", left}
    if left == "interrupted":
        assert "to resume" in ended.err
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
    from proxyflow.tracking.runs.writer import RunWriter

    writer = RunWriter(connect(), "alive")
    with writer.open("study", "mine", "A run that this process is working on.") as run:
        assert writer.recovery.fail_stale_runs() == 0
        assert MlflowClient().get_run(run.id).info.status == "RUNNING"


def test_a_run_that_died_while_it_was_ended_does_not_stay_running(store: str) -> None:
    from proxyflow.tracking import names
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs.owner import this_process
    from proxyflow.tracking.runs.writer import RunWriter

    client = connect()
    writer = RunWriter(client, "half ended")
    host = this_process().split(" ")[0]
    made = client.create_run(
        writer.experiment_id,
        tags={names.STUDY: "half ended", names.STATUS: "finished", names.OWNER: f"{host} 999999 1.0"},
    )
    assert writer.recovery.fail_stale_runs() == 1
    run = client.get_run(made.info.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[names.STATUS] == "finished"


def refuse_ends(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from proxyflow.tracking.delivery.write_ahead_log import Record
    from proxyflow.tracking.runs import run

    real = run.write_record

    def refuse(client: MlflowClient, run_id: str, record: Record) -> None:
        if record.end is not None:
            raise error
        real(client, run_id, record)

    monkeypatch.setattr(run, "write_record", refuse)


def test_a_success_that_is_not_there_for_the_server_is_delivered_later(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs.owner import this_process
    from proxyflow.tracking.runs.run import NotDelivered
    from proxyflow.tracking.runs.writer import RunWriter

    writer = RunWriter(connect(retry_timeout=0.5), "late")
    with monkeypatch.context() as patch:
        refuse_ends(patch, requests.ConnectionError("gone"))
        with pytest.raises(NotDelivered, match="kept on this machine"), writer.open("study", "x", "Late.") as run:
            run.log_metrics({"accuracy": 0.5}, step=3)
    assert MlflowClient().get_run(run.id).info.status == "RUNNING"
    # The process that did it is gone by the time of the next command.
    monkeypatch.setattr("proxyflow.tracking.runs.recovery.is_dead", lambda who: who == this_process())
    RunWriter(connect(), "late").recovery.deliver()
    found = MlflowClient().get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["proxyflow.status"] == "finished"
    assert [(m.value, m.step) for m in MlflowClient().get_metric_history(run.id, "accuracy")] == [(0.5, 3)]


def test_a_training_is_done_once_in_each_study(entry: Entry, grid_file: Path) -> None:
    for study in ("one", "other"):
        arguments = ["--study", study, "--grid", str(grid_file), "--strategies", "random:0.1", "--epochs", "1", *STUDY]
        ended = entry("sweep", *arguments)
        assert ended.status == 0, ended.err
        assert "4 finished (4 now)" in ended.out


def test_a_training_is_claimed_by_one(store: str) -> None:
    import psutil

    from proxyflow.tracking import names
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs.claims import AlreadyClaimed
    from proxyflow.tracking.runs.owner import this_process
    from proxyflow.tracking.runs.writer import RunWriter

    client = connect()
    writer = RunWriter(client, "claimed")
    tags = {names.RUN_KEY: "a key"}
    living = f"{this_process().split(' ')[0]} {psutil.Process().ppid()} "
    living += f"{psutil.Process(psutil.Process().ppid()).create_time():.2f}"
    claim = {names.KIND: "training", names.STATUS: "running", names.OWNER: living, **tags}
    other = client.create_run(writer.experiment_id, tags=claim)
    with pytest.raises(AlreadyClaimed), writer.open("training", "x", "Mine.", tags, claim=True):
        raise AssertionError("it has begun what another process is at")
    client.set_tag(other.info.run_id, names.STATUS, "failed")
    client.set_terminated(other.info.run_id, status="FAILED")
    with writer.open("training", "x", "Mine.", tags, claim=True) as run:
        pass
    assert {each.info.run_id for each in runs("claimed")} == {run.id, other.info.run_id}
    with pytest.raises(AlreadyClaimed), writer.open("training", "x", "Again.", tags, claim=True):
        raise AssertionError("it has begun what is done")


def test_a_signal_amid_a_claim_leaves_nothing_running(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.tracking import names
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs.writer import RunWriter

    def interrupt(*ignored: object) -> None:
        raise KeyboardInterrupt

    writer = RunWriter(connect(), "amid a claim")
    monkeypatch.setattr(writer._claims, "claim", interrupt)
    with pytest.raises(KeyboardInterrupt), writer.open("training", "x", "x.", {names.RUN_KEY: "k"}, claim=True):
        raise AssertionError("it goes on")
    assert [run.info.status for run in runs("amid a claim")] == ["KILLED"]


def test_a_signal_amid_a_creation_leaves_nothing_running(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs.writer import RunWriter

    writer = RunWriter(connect(), "amid a creation")
    real = MlflowClient.create_run

    def interrupt(*given: object, **named: object) -> None:
        real(*given, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with writer.open("study", "mine", "Goes on.") as mine:
        monkeypatch.setattr(MlflowClient, "create_run", interrupt)
        with pytest.raises(KeyboardInterrupt), writer.open("training", "x", "x."):
            raise AssertionError("it goes on")
        states = {run.info.run_id: run.data.tags["proxyflow.status"] for run in runs("amid a creation")}
        assert states.pop(mine.id) == "running"
        assert list(states.values()) == ["interrupted"]


def test_a_success_that_the_server_refuses_is_none(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.runs.writer import RunWriter

    writer = RunWriter(connect(), "unwritten")
    refuse_ends(monkeypatch, PermissionError("not yours"))
    with pytest.raises(PermissionError), writer.open("study", "x", "A run whose end cannot be written."):
        pass


@pytest.mark.parametrize(("deliver", "expected"), [(True, 1), (False, 0)])
def test_signals_wait_until_an_end_is_written(deliver: bool, expected: int) -> None:
    from proxyflow.core.signals import deferred_signals

    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with deferred_signals(deliver):
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
        _, err = child.communicate(timeout=SECONDS)
        assert child.returncode == 0, err
    trainings = [run for run in runs("shared") if run.data.tags["proxyflow.kind"] == "training"]
    keys = Counter(run.data.tags["proxyflow.run_key"] for run in trainings)
    assert len(keys) == 4
    assert set(keys.values()) == {1}


def test_one_failed_training_fails_alone(entry: Entry, grid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ImageTrainer.train

    def sometimes(self: ImageTrainer, job: Job) -> Trained:
        if job.configuration["optimizer"] == "sgd":
            raise RuntimeError("out of luck")
        return real(self, job)

    monkeypatch.setattr(ImageTrainer, "train", sometimes)
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
