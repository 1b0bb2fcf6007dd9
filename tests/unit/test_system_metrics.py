"""System metrics: there from the first second, gone with the run, and never in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import InvalidValue
from proxyflow.tracking.connection import connect
from proxyflow.tracking.runs import system_metrics as system
from proxyflow.tracking.runs.run import Run
from proxyflow.tracking.runs.system_metrics import SystemMetrics, log_system_metrics, system_metrics_options
from proxyflow.tracking.runs.writer import RunWriter

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
PATIENCE = 60  # seconds, for what takes a moment where the machine is not busy


@pytest.fixture(autouse=True)
def time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler that still imports its collectors is waited for."""
    monkeypatch.setattr(system, "JOIN_SECONDS", PATIENCE)


class Listener:
    """What stands for a run, and keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.logged.append((step, dict(metrics)))


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def samples(how: SystemMetrics | None, count: int = 0) -> list[tuple[int, dict[str, float]]]:
    """What is logged of a run that goes on until `count` samples are."""
    run = Listener()
    with log_system_metrics(cast(Run, run), how):
        wait(lambda: len(run.logged) >= count)
    assert "proxyflow-system-metrics" not in {thread.name for thread in threading.enumerate()}
    return run.logged


def test_a_run_of_no_time_has_a_sample() -> None:
    [(step, metrics)] = samples(SystemMetrics())
    assert step == 0
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(metrics)


def test_samples_come_at_their_interval_and_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    # So many at the interval that is the default would come too late.
    steps = [step for step, _ in samples(SystemMetrics(seconds=0.02), count=PATIENCE // int(SystemMetrics.seconds) + 2)]
    assert steps == list(range(len(steps)))

    class Counting:
        taken = 0

        def collect_metrics(self) -> None:
            self.taken += 1

        def aggregate_metrics(self) -> dict[str, float]:
            return {}

        def clear_metrics(self) -> None:
            pass

    real, counting, run = system._monitors, Counting(), Listener()
    monkeypatch.setattr(system, "_monitors", lambda: [*real(), counting])
    with log_system_metrics(cast(Run, run), SystemMetrics(seconds=0.02, samples=1000)):
        wait(lambda: counting.taken > 3)
    assert len(run.logged) == 2  # the first, and what had come by the end


def test_processors_are_measured_from_the_first_sample_on() -> None:
    # A thread's first reading is 0 whatever goes on.
    run, deadline = Listener(), time.monotonic() + PATIENCE
    with log_system_metrics(cast(Run, run), SystemMetrics(seconds=0.2)):
        while not run.logged and time.monotonic() < deadline:
            pass
    assert run.logged[0][1]["system/cpu_utilization_percentage"] > 5


def test_a_machine_has_its_name_in_the_metrics() -> None:
    [(_, metrics)] = samples(SystemMetrics(node="left"))
    assert "system/left/disk_usage_percentage" in metrics


def test_what_does_not_work_on_this_machine_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def collect_metrics(self) -> None:
            raise OSError

    real = system._monitors
    monkeypatch.setattr(system, "_monitors", lambda: [*real(), Broken()])
    [(_, metrics)] = samples(SystemMetrics())
    assert metrics


def test_nothing_is_taken_where_it_is_not_wanted() -> None:
    assert samples(None) == []


def test_a_refusal_is_left_to_the_run(caplog: pytest.LogCaptureFixture) -> None:
    refused = threading.Event()

    class Refusing(Listener):
        def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
            refused.set()
            raise RuntimeError("refused earlier")

    with log_system_metrics(cast(Run, Refusing()), SystemMetrics(seconds=0.01)):
        assert refused.wait(PATIENCE)
    assert not caplog.records


def test_mlflow_s_variables_decide_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    assert system_metrics_options(None) is None
    assert system_metrics_options(True) == SystemMetrics()
    monkeypatch.setenv(SWITCH, "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "2.5")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "3")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_NODE_ID", "left")
    assert system_metrics_options(None) == SystemMetrics(2.5, 3, "left")
    assert system_metrics_options(False) is None


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
        system_metrics_options(None)


class Failure(Exception):
    """What a training may come to."""


@pytest.mark.parametrize("error", [None, Failure, KeyboardInterrupt])
def test_a_run_ends_with_its_samples_however_it_ends(error: Any, store: str, capfd: pytest.CaptureFixture[str]) -> None:
    writer = RunWriter(connect(), "sampled", SystemMetrics())
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
    writer = RunWriter(connect(), "sampled", SystemMetrics())
    with writer.open("subset", "a subset", "Not sampled.") as run:
        pass
    assert not MlflowClient().get_run(run.id).data.metrics
