"""System metrics of a run, as MLflow's own collectors measure them, sent as all else that is said of the run.

MLflow's own switch is in `start_run`, which nothing here calls; and its monitor asks the server at each sample whether
the run goes on, and stops for good at the first outage.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from mlflow.environment_variables import (
    MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING,
    MLFLOW_SYSTEM_METRICS_NODE_ID,
    MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING,
    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
)

from proxyflow.errors import InvalidValue
from proxyflow.settings import Number
from proxyflow.tracking.run import Run

PREFIX = "system/"  # what the UI knows system metrics by
FIRST_SECONDS = 1.0  # until the first sample, which even a short run has
LAST_SECONDS = 5.0  # for a sample that is being taken when the run ends


@dataclass(frozen=True)
class Sampling:
    """How a run's system metrics are taken.

    Attributes:
        seconds: between two samples.
        samples: that are averaged into one value.
        node: goes into the metrics' names, where several machines write to one run.
    """

    seconds: float = 10.0
    samples: int = 1
    node: str = ""


def sampling(choice: bool | None) -> Sampling | None:
    """How system metrics are to be taken, None for not at all.

    Args:
        choice: the user's; None is what MLflow's variable says.

    Raises:
        InvalidValue: one of MLflow's variables has a value that MLflow does not take.
    """
    variable = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
    try:
        wanted = variable.get() if choice is None else choice
    except ValueError:
        raise InvalidValue(variable.name, os.environ[variable.name], "it must be true or false") from None
    if not wanted:
        return None
    return Sampling(
        seconds=_number(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.name, Sampling.seconds, whole=False),
        samples=int(_number(MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING.name, Sampling.samples, whole=True)),
        node=MLFLOW_SYSTEM_METRICS_NODE_ID.get() or "",
    )


def _number(variable: str, default: float, whole: bool) -> float:
    rule = Number(low=0, above=True, whole=whole, example=f"{default:g}")
    return float(rule.parse(variable, os.environ.get(variable) or default))


@contextmanager
def sampled(run: Run, how: Sampling | None) -> Iterator[None]:
    """Takes a run's system metrics during the block; a block of any length has a sample."""
    if how is None:
        yield
        return
    sampler = _Sampler(run, how)
    thread = threading.Thread(target=sampler.work, name="proxyflow-system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sampler.over.set()
        thread.join(LAST_SECONDS)


class _Sampler:
    """Takes samples until it is over; what fails on this machine is left out."""

    def __init__(self, run: Run, how: Sampling) -> None:
        self.run, self.how = run, how
        self.over = threading.Event()

    def work(self) -> None:
        import psutil

        # The first reading of a thread is always 0, and the next one covers the time since.
        psutil.cpu_percent()
        monitors = _monitors()
        step, taken, pause = 0, 0, min(FIRST_SECONDS, self.how.seconds)
        # A refusal of the server's comes up where the work goes on.
        with suppress(Exception):
            while True:
                over = self.over.wait(pause)
                # A sample of the moment since the last one would say nothing.
                if not over or not step:
                    monitors = [monitor for monitor in monitors if _collected(monitor)]
                    taken += 1
                if taken and (over or not step or taken >= self.how.samples):
                    self._log(monitors, step)
                    step, taken = step + 1, 0
                if over:
                    return
                pause = self.how.seconds

    def _log(self, monitors: Sequence[Any], step: int) -> None:
        prefix = PREFIX + (f"{self.how.node}/" if self.how.node else "")
        values: dict[str, float] = {}
        for monitor in monitors:
            values |= {prefix + name: float(value) for name, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        self.run.log_metrics(values, step=step)


def _monitors() -> list[Any]:
    """MLflow's collectors that work on this machine."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    # A GPU that cannot tell one of its figures would be told of at each sample.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    kinds: tuple[Callable[[], Any], ...] = (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor)
    monitors = []
    for kind in kinds:
        with suppress(Exception):  # no such device here, or no library for it
            monitors.append(kind())
    return monitors


def _collected(monitor: Any) -> bool:
    try:
        monitor.collect_metrics()
    except Exception:
        return False
    return True
