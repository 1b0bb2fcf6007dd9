"""A long training that is killed goes on where it stood, and ends as if nothing had happened."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from entry_points import SECONDS, SMALL, Entry, spawn
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from proxyflow.tracking.connection import connect

EPOCHS = 12
ARGUMENTS = ("--strategy", "random:0.5", "--epochs", str(EPOCHS), *SMALL)


def trainings(study: str) -> list[Run]:
    """Newest first."""
    client = connect()  # waits for a child that makes the store's tables
    found = client.get_experiment_by_name(study)
    runs = client.search_runs([found.experiment_id], "tags.`proxyflow.kind` = 'training'") if found else []
    return list(runs)


def epochs(run: Run, metric: str) -> list[tuple[int, float]]:
    history = MlflowClient().get_metric_history(run.info.run_id, metric)
    return sorted((entry.step, entry.value) for entry in history)


def checkpoints(run: Run) -> list[str]:
    return [each.path for each in MlflowClient().list_artifacts(run.info.run_id, "checkpoint")]


def test_a_killed_training_goes_on(store: str, entry: Entry) -> None:
    resumable = (*ARGUMENTS, "--study", "long", "--resume-training", "true")
    child = spawn(store, Path.cwd(), "train", *resumable)
    deadline = time.monotonic() + SECONDS
    while not (trainings("long") and len(checkpoints(trainings("long")[0])) == 2):
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=SECONDS)
    killed = trainings("long")[0]
    assert killed.data.tags["proxyflow.status"] == "running"

    ended = entry("train", *resumable, "--save-model", "true")
    assert ended.status == 0, ended.err
    assert f"of run {killed.info.run_id}" in ended.err
    resumed = trainings("long")[0]
    assert resumed.data.tags["proxyflow.resumed_from"] == killed.info.run_id
    assert resumed.data.tags["proxyflow.status"] == "finished"
    assert MlflowClient().get_run(killed.info.run_id).data.tags["proxyflow.status"] == "failed"
    assert checkpoints(resumed) == checkpoints(killed) == []

    ended = entry("train", *ARGUMENTS, "--study", "uninterrupted", "--save-model", "true")
    assert ended.status == 0, ended.err
    whole = trainings("uninterrupted")[0]
    assert whole.data.tags["proxyflow.run_key"] == resumed.data.tags["proxyflow.run_key"]
    for metric in ("train_loss", "valid_loss", "valid_accuracy"):
        assert epochs(resumed, metric) == epochs(whole, metric)
        assert [step for step, _ in epochs(resumed, metric)] == list(range(1, EPOCHS + 1))
    for metric in ("best_valid_accuracy", "best_epoch", "examples_seen", "train_flops"):
        assert resumed.data.metrics[metric] == whole.data.metrics[metric]
    # What was spent before it was killed is part of the cost.
    spent = sum(seconds for _, seconds in epochs(resumed, "epoch_seconds"))
    assert resumed.data.metrics["train_seconds"] == pytest.approx(spent)
    assert resumed.data.metrics["wall_seconds"] > resumed.data.metrics["train_seconds"]
    weights = [
        Path(MlflowClient().download_artifacts(run.info.run_id, "weights/model.safetensors")).read_bytes()
        for run in (resumed, whole)
    ]
    assert weights[0] == weights[1]


def test_with_nothing_to_go_on_from_it_starts_from_the_beginning(store: str, entry: Entry) -> None:
    short = ("--strategy", "random:0.1", "--epochs", "2", *SMALL, "--study", "short", "--resume-training", "true")
    for count in (1, 2):
        ended = entry("train", *short)
        assert ended.status == 0, ended.err
        assert "resuming after" not in ended.err
        assert len(trainings("short")) == count
        assert "proxyflow.resumed_from" not in trainings("short")[0].data.tags


def test_a_live_runs_checkpoint_is_left_to_it(store: str, entry: Entry) -> None:
    arguments = ("--strategy", "random:0.5", "--epochs", "60", *SMALL, "--study", "alive", "--resume-training", "true")
    child = spawn(store, Path.cwd(), "train", *arguments)
    deadline = time.monotonic() + SECONDS
    while not (trainings("alive") and len(checkpoints(trainings("alive")[0])) == 2):  # the first is whole
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    from proxyflow.studies.checkpoints import newest_checkpoint
    from proxyflow.studies.context import StudyContext
    from proxyflow.tracking.runs.writer import RunWriter
    from proxyflow.trainers.images.checkpoints import TrainingCheckpoint

    context = StudyContext(connect(), RunWriter(connect(), "alive"))
    run = trainings("alive")[0]
    key = run.data.tags["proxyflow.run_key"]
    assert newest_checkpoint(context, "training", key, TrainingCheckpoint.load, before=60) is None
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=SECONDS)
    found = newest_checkpoint(context, "training", key, TrainingCheckpoint.load, before=60)
    assert found is not None
    assert found.run_id == run.info.run_id
