"""A worker may reach what its driver may, gives a training that fails back as such, and says whether to try it again."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
import torch
from made_up import noise_dataset

from proxyflow.data.catalog import DataOptions
from proxyflow.errors import OutOfMemory, StoreFailed, Terminated
from proxyflow.strategies import Full, parse_strategy
from proxyflow.studies import worker
from proxyflow.studies.executors.base import Bench
from proxyflow.studies.executors.ray import OWN, Remote, _setup
from proxyflow.studies.keys import key_of_training_on
from proxyflow.studies.lab import Lab
from proxyflow.studies.plan import PlannedTraining
from proxyflow.studies.tasks import Done, SubsetRef, Task
from proxyflow.studies.worker import OtherExperiment, Worker
from proxyflow.subsets import choose_subset
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

SECRETS = ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")
SUBSET = choose_subset(noise_dataset([0, 1] * 4, [0, 1], 2), Full(), 0)
PLANNED = PlannedTraining(
    "noise", parse_strategy("full"), Hyperparameters(arch="xresnet18"), TrainingSettings(image_size=64), 0, "fast"
)
LAB = Lab(cast(Any, None), cast(Any, None), torch.device("cpu"))


def train(monkeypatch: pytest.MonkeyPatch, error: Exception, key: str = "") -> Done:
    def fail(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(worker, "subset_runs", SimpleNamespace(load_chosen=lambda *given: SUBSET))
    monkeypatch.setattr(worker.training_runs, "train", fail)
    task = Task(PLANNED, SubsetRef("run", "", "", 0), key or key_of_training_on(LAB, PLANNED, SUBSET))
    return Worker(LAB, "parent").train(task, lambda *told: None)


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (OutOfMemory("out of memory on cpu"), False),
        (RuntimeError("shapes differ"), False),
        (StoreFailed("S3 refuses"), True),
        (ConnectionResetError("reset"), True),
        (OSError(28, "No space left on device"), True),
    ],
)
def test_a_failure_is_tried_again_only_where_its_cause_may_pass(
    monkeypatch: pytest.MonkeyPatch, error: Exception, may_pass: bool
) -> None:
    done = train(monkeypatch, error)
    assert (done.status, done.may_pass) == ("failed", may_pass)
    assert done.error == f"{type(error).__name__}: {error}"


def test_a_worker_whose_device_would_make_another_experiment_ends_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OtherExperiment, match=r"precision=auto is .* for a worker on cpu, .* give precision=fp32"):
        train(monkeypatch, AssertionError("it has begun"), key="planned elsewhere")


def test_a_ray_worker_has_the_drivers_credentials_before_it_connects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*SECRETS, *OWN, "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    lab = SimpleNamespace(
        writer=SimpleNamespace(study="s", sampling=None), client=None, price_per_hour=None, data=DataOptions()
    )
    with monkeypatch.context() as driver:
        for name in (*SECRETS, *OWN):
            driver.setenv(name, "se-cret")
        setup = _setup(Bench(cast(Lab, lab), "parent"))
    assert "se-cret" not in repr(setup)
    found: dict[str, str] = {}

    def connect(patience: float) -> NoReturn:
        found.update(os.environ)
        raise Terminated

    monkeypatch.setattr("proxyflow.tracking.connection.connect", connect)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(Terminated):
        Remote(setup)
    assert [found.get(name) for name in SECRETS] == ["se-cret"] * len(SECRETS)
    assert not set(OWN) & found.keys()
