"""System metrics by MLflow's own collectors, because MLflow's own monitor stops for good at the first outage.

It also asks the server at each sample whether the run goes on, and a run shorter than its interval has no sample.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil
from mlflow.environment_variables import (
    MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING,
    MLFLOW_SYSTEM_METRICS_NODE_ID,
    MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING,
    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
)

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Number
from proxyflow.tracking.runs.run import Run

PREFIX = "system/"  # by which the MLflow UI knows system metrics
FIRST_SECONDS = 1.0  # until the first sample
JOIN_SECONDS = 5.0  # for a sample that is being taken when the run ends


@dataclass(frozen=True)
class SystemMetrics:
    """How a run's system metrics are sampled.

    Attributes:
        seconds: between two samples.
        samples: that are averaged into one value.
        node: part of the metrics' names, where several machines log to one run.
    """

    seconds: float = 10.0
    samples: int = 1
    node: str = ""


def system_metrics_options(enabled: bool | None) -> SystemMetrics | None:
    """How system metrics are sampled, None for not at all.

    Args:
        enabled: the user's choice; None follows MLflow's variable.

    Raises:
        InvalidValue: one of MLflow's variables has an invalid value.
    """
    variable = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
    try:
        enabled = variable.get() if enabled is None else enabled
    except ValueError:
        raise InvalidValue(variable.name, os.environ[variable.name], "it must be true or false") from None
    if not enabled:
        return None
    return SystemMetrics(
        seconds=_number(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.name, SystemMetrics.seconds, whole=False),
        samples=int(_number(MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING.name, SystemMetrics.samples, whole=True)),
        node=MLFLOW_SYSTEM_METRICS_NODE_ID.get() or "",
    )


def _number(variable: str, default: float, whole: bool) -> float:
    rule = Number(low=0, above=True, whole=whole, example=f"{default:g}")
    return float(rule.parse(variable, os.environ.get(variable) or default))


@contextmanager
def log_system_metrics(run: Run, options: SystemMetrics | None) -> Iterator[None]:
    """Logs a run's system metrics during the block, with at least one sample; None logs nothing."""
    if options is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(
        target=_log_until, args=(ended, run, options), name="proxyflow-system-metrics", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(JOIN_SECONDS)


def _log_until(ended: threading.Event, run: Run, options: SystemMetrics) -> None:
    # A thread's first reading is always 0, and the next one covers the time since.
    psutil.cpu_percent()
    monitors = _monitors()
    prefix = PREFIX + (f"{options.node}/" if options.node else "")
    step, taken, pause = 0, 0, min(FIRST_SECONDS, options.seconds)
    with suppress(Exception):  # a refusal by the server is raised where the work goes on
        while True:
            is_last = ended.wait(pause)
            # The moment since the last sample is too short for another one.
            if not is_last or not step:
                monitors = [monitor for monitor in monitors if _collect(monitor)]
                taken += 1
            if taken and (is_last or not step or taken >= options.samples):
                values: dict[str, float] = {}
                for monitor in monitors:
                    values |= {prefix + name: float(value) for name, value in monitor.aggregate_metrics().items()}
                    monitor.clear_metrics()
                run.log_metrics(values, step=step)
                step, taken = step + 1, 0
            if is_last:
                return
            pause = options.seconds


def _monitors() -> list[Any]:
    """MLflow's collectors that work on this machine."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor  # start-up time
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor  # start-up time
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor  # start-up time
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor  # start-up time
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor  # start-up time

    # A GPU without one of the figures would cause a warning at each sample.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    kinds: tuple[Callable[[], Any], ...] = (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor)
    monitors = []
    for kind in kinds:
        with suppress(Exception):  # this machine has no such device, or no library for it
            monitors.append(kind())
    return monitors


def _collect(monitor: Any) -> bool:
    """Takes a sample; returns whether the collector works."""
    try:
        monitor.collect_metrics()
    except Exception:
        return False
    return True
