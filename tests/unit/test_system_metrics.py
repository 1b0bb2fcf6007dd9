"""System metrics: there from the first second, gone with the run, and never in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import pytest
from mlflow.tracking import MlflowClient

from proxyflow.errors import InvalidValue
from proxyflow.tracking import system
from proxyflow.tracking.connection import connect
from proxyflow.tracking.run import Run
from proxyflow.tracking.runs import RunWriter
from proxyflow.tracking.system import Sampling, sampled, sampling

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"


class Listener:
    """What stands for a run, and keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.logged.append((step, dict(metrics)))


def samples(seconds: float, how: Sampling | None) -> list[tuple[int, dict[str, float]]]:
    run = Listener()
    with sampled(cast(Run, run), how):
        time.sleep(seconds)
    assert "proxyflow-system-metrics" not in {thread.name for thread in threading.enumerate()}
    return run.logged


def test_a_run_of_no_time_has_a_sample() -> None:
    [(step, metrics)] = samples(0.0, Sampling())
    assert step == 0
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(metrics)


def test_samples_come_at_their_interval_and_are_averaged() -> None:
    steps = [step for step, _ in samples(0.5, Sampling(seconds=0.02))]
    assert steps == list(range(len(steps)))
    assert len(steps) > 3
    assert len(samples(0.5, Sampling(seconds=0.02, samples=1000))) == 2  # the first, and what had come by the end


def test_processors_are_measured_from_the_first_sample_on() -> None:
    # A thread's first reading is 0 whatever goes on.
    run, until = Listener(), time.monotonic() + 0.4
    with sampled(cast(Run, run), Sampling(seconds=0.2)):
        while time.monotonic() < until:
            pass
    assert run.logged[0][1]["system/cpu_utilization_percentage"] > 5


def test_a_machine_has_its_name_in_the_metrics() -> None:
    [(_, metrics)] = samples(0.0, Sampling(node="left"))
    assert "system/left/disk_usage_percentage" in metrics


def test_what_does_not_work_on_this_machine_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def collect_metrics(self) -> None:
            raise OSError

    real = system._monitors
    monkeypatch.setattr(system, "_monitors", lambda: [*real(), Broken()])
    [(_, metrics)] = samples(0.0, Sampling())
    assert metrics


def test_nothing_is_taken_where_it_is_not_wanted() -> None:
    assert samples(0.0, None) == []


def test_a_refusal_is_left_to_the_run(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Listener):
        def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
            raise RuntimeError("refused earlier")

    with sampled(cast(Run, Refusing()), Sampling(seconds=0.01)):
        time.sleep(0.05)
    assert not caplog.records


def test_mlflow_s_variables_decide_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    assert sampling(None) is None
    assert sampling(True) == Sampling()
    monkeypatch.setenv(SWITCH, "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "2.5")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "3")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_NODE_ID", "left")
    assert sampling(None) == Sampling(2.5, 3, "left")
    assert sampling(False) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (SWITCH, "often"),
        ("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0"),
        ("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "soon"),
        ("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "1.5"),
    ],
)
def test_a_variable_that_says_nothing_is_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "true")
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidValue, match=variable):
        sampling(None)


class Failure(Exception):
    """What a training may come to."""


@pytest.mark.parametrize("error", [None, Failure, KeyboardInterrupt])
def test_a_run_ends_with_its_samples_however_it_ends(error: Any, store: str, capfd: pytest.CaptureFixture[str]) -> None:
    writer = RunWriter(connect(), "sampled", Sampling())
    try:
        with writer.open("training", "a training", "Sampled.") as run:
            if error is not None:
                raise error
    except (Failure, KeyboardInterrupt):
        pass
    found = MlflowClient().get_run(run.id)
    assert found.info.status == {None: "FINISHED", Failure: "FAILED", KeyboardInterrupt: "KILLED"}[error]
    assert "system/cpu_utilization_percentage" in found.data.metrics
    assert capfd.readouterr().err == ""


def test_only_runs_that_work_long_are_sampled(store: str) -> None:
    writer = RunWriter(connect(), "sampled", Sampling())
    with writer.open("subset", "a subset", "Not sampled.") as run:
        pass
    assert not MlflowClient().get_run(run.id).data.metrics
