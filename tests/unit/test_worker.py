"""A worker may reach what its driver may, gives a training that fails back as such, and says whether to try it again."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
import torch
from image_training import planned_of, spec_of
from made_up import noise_dataset

from proxyflow.core.errors import OutOfMemory, StoreFailed, Terminated
from proxyflow.data.catalog import DataOptions
from proxyflow.strategies import Full
from proxyflow.studies import worker
from proxyflow.studies.context import StudyContext
from proxyflow.studies.executors.base import WorkerContext
from proxyflow.studies.executors.ray import OWN, RayWorker, _setup
from proxyflow.studies.keys import key_of_training_on
from proxyflow.studies.plan import PlannedTraining
from proxyflow.studies.tasks import SubsetRef, Task, TaskResult
from proxyflow.studies.worker import KeyMismatch, Worker
from proxyflow.subsets import choose_subset
from proxyflow.trainers import ProgramTrainer

SECRETS = ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")
SUBSET = choose_subset(noise_dataset([0, 1] * 4, [0, 1], 2), Full(), 0)
PLANNED = planned_of("full", spec_of(image_size=64), "noise")
LAB = StudyContext(cast(Any, None), cast(Any, None), torch.device("cpu"))


def train(
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    key: str = "",
    planned: PlannedTraining = PLANNED,
    device: torch.device | None = None,
) -> TaskResult:
    def fail(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(worker, "subset_runs", SimpleNamespace(load_planned_subset=lambda *given: SUBSET))
    monkeypatch.setattr(worker.training_runs, "train", fail)
    task = Task(planned, SubsetRef("run", "", "", 0), key or key_of_training_on(LAB, planned, SUBSET))
    context = dataclasses.replace(LAB, chosen_device=device or LAB.chosen_device)
    return Worker(context, "parent").train(task, lambda *told: None)


@pytest.mark.parametrize(
    ("error", "retryable", "told"),
    [
        # Ours say what to do; of others the type tells more than their words.
        (OutOfMemory("out of memory on cpu"), False, "out of memory on cpu"),
        (RuntimeError("shapes differ"), False, "RuntimeError: shapes differ"),
        (StoreFailed("S3 refuses"), True, "S3 refuses"),
        (ConnectionResetError("reset"), True, "ConnectionResetError: reset"),
        (OSError(28, "No space left on device"), True, "OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_failure_is_tried_again_only_where_its_cause_may_pass(
    monkeypatch: pytest.MonkeyPatch, error: Exception, retryable: bool, told: str
) -> None:
    done = train(monkeypatch, error)
    assert (done.status, done.retryable) == ("failed", retryable)
    assert done.error == told


def test_a_worker_whose_device_would_make_another_experiment_ends_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyMismatch):
        train(monkeypatch, AssertionError("it has begun"), key="planned elsewhere")


def test_a_program_is_read_as_the_cause_where_its_files_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `--log out.txt` does, which the first training writes."""
    trainer = ProgramTrainer("python fit.py --log out.txt", folder=tmp_path)
    planned = dataclasses.replace(PLANNED, spec=dataclasses.replace(PLANNED.spec, trainer=trainer))
    key = key_of_training_on(LAB, planned, SUBSET)
    (tmp_path / "out.txt").write_text("epoch 1")
    with pytest.raises(KeyMismatch, match=r"out\.txt") as caught:
        train(monkeypatch, AssertionError("it has begun"), key, planned)
    assert "{output}" in str(caught.value)


@pytest.mark.parametrize(("program", "expected"), [(False, ["cuda:1"]), (True, [])])
def test_a_device_is_left_alone_for_a_program(
    program: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To make it the current one takes hundreds of MB of its memory."""
    made: list[str] = []
    monkeypatch.setattr(worker, "set_current_device", lambda device: made.append(str(device)))
    trainer = ProgramTrainer("python fit.py", folder=tmp_path) if program else PLANNED.spec.trainer
    planned = dataclasses.replace(PLANNED, spec=dataclasses.replace(PLANNED.spec, trainer=trainer))
    key = key_of_training_on(LAB, planned, SUBSET)
    monkeypatch.setattr(worker, "key_of_training_on", lambda *given: key)
    train(monkeypatch, RuntimeError(), key, planned, torch.device("cuda:1"))
    assert made == expected


def test_a_ray_worker_has_the_drivers_credentials_before_it_connects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*SECRETS, *OWN, "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    context = SimpleNamespace(
        writer=SimpleNamespace(study="s", system_metrics=None), client=None, price_per_hour=None, data=DataOptions()
    )
    with monkeypatch.context() as driver:
        for name in (*SECRETS, *OWN):
            driver.setenv(name, "se-cret")
        setup = _setup(WorkerContext(cast(StudyContext, context), "parent"))
    assert "se-cret" not in repr(setup)
    found: dict[str, str] = {}

    def connect(retry_timeout: float) -> NoReturn:
        found.update(os.environ)
        raise Terminated

    monkeypatch.setattr("proxyflow.tracking.connection.connect", connect)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(Terminated):
        RayWorker(setup)
    assert [found.get(name) for name in SECRETS] == ["se-cret"] * len(SECRETS)
    assert not set(OWN) & found.keys()
