"""The Ray executor: long-lived actors that keep the data on their device and pull trainings, on one or many machines.

Only this module imports ray, which is an optional dependency.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.core.errors import InvalidValue, Terminated, TrainingFailed, one_line
from proxyflow.data.catalog import DataOptions
from proxyflow.studies.executors.base import Resources, WorkerContext, WorkerPool
from proxyflow.studies.tasks import OnProgress, Task, TaskResult

if TYPE_CHECKING:
    from proxyflow.tracking.runs.system_metrics import SystemMetrics

# Variables of the driver that workers need to find the data.
FORWARDED = ("PROXYFLOW_", "OMP_NUM_THREADS")
# Variables to reach the server and its artifacts. They include passwords and keys, so they do not go into Ray's runtime
# environment, which Ray writes into logs and command lines.
SECRET = ("MLFLOW_", "AWS_")
# Variables of the driver's own run: a worker must not write to it.
OWN = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
REACH_SECONDS = 5
LONGEST_WAIT_SECONDS = 0.5  # for a worker, before signals are handled
DIED = "its worker process died before the run ended"


@dataclass(frozen=True)
class WorkerSetup:
    """What an actor needs to create its `StudyContext`.

    Attributes:
        server, environment: tracking URI, and variables to set before connecting; both may hold credentials.
    """

    study: str
    server: str = field(repr=False)
    retry_timeout: float
    price_per_hour: float | None
    system_metrics: SystemMetrics | None
    data: DataOptions
    parent_id: str
    folder: str
    environment: dict[str, str] = field(repr=False)


class RayExecutor:
    """Workers are Ray actors."""

    description = "Ray actors, on this machine or on the cluster at address; needs proxyflow[ray]"

    def check(self, resources: Resources) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InvalidValue(
                "executor", "ray", "Ray is not installed: pip install 'proxyflow[ray]', or use executor=local"
            )
        if resources.gpus_per_job > 1 and resources.gpus_per_job != int(resources.gpus_per_job):
            raise InvalidValue("gpus_per_job", resources.gpus_per_job, "above 1, Ray assigns whole GPUs only")

    def jobs(self, resources: Resources) -> int:
        self.check(resources)
        _start(resources)
        return _allocate(resources)[0]

    @contextmanager
    def open(self, worker_context: WorkerContext, resources: Resources) -> Iterator[WorkerPool]:
        self.check(resources)
        _start(resources)
        jobs, cpus, gpus = _allocate(resources)
        worker_context.context.say(f"executor ray: {jobs} worker(s) with {cpus:g} core(s) and {gpus:g} GPU(s) each")
        pool = ActorPool(worker_context, _setup(worker_context), jobs, cpus, gpus)
        try:
            yield pool
        finally:
            pool.close()


def _setup(worker_context: WorkerContext) -> WorkerSetup:
    from proxyflow.tracking.connection import server_uri  # imports mlflow
    from proxyflow.tracking.delivery.retrying import retry_timeout_of

    context = worker_context.context
    return WorkerSetup(
        context.writer.study,
        server_uri(),
        retry_timeout_of(context.client),
        context.price_per_hour,
        context.writer.system_metrics,
        context.data,
        worker_context.parent_id,
        str(Path.cwd()),
        _variables(SECRET),
    )


def _start(resources: Resources) -> None:
    """Connects to the cluster, or starts one on this machine; once per process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray  # imports ray

    if ray.is_initialized():
        return
    environment = _variables(FORWARDED)
    runtime: dict[str, Any] = {"env_vars": environment}
    package = Path(__file__).parents[2]
    if resources.address is None:
        environment["PYTHONPATH"] = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
        # Explicit, because RAY_ADDRESS could name a cluster.
        options: dict[str, Any] = {"address": "local", "include_dashboard": False}
    else:
        # All machines of the cluster run the driver's code.
        runtime["py_modules"] = [str(package)]
        options = {"address": resources.address}
    try:
        _reach(resources.address)
        with _own_sigterm():
            ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=runtime, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidValue(
            "address",
            resources.address,
            f"no Ray cluster responds there ({one_line(error)}); start one with ray start --head, or give none",
        ) from None


def _variables(beginnings: tuple[str, ...]) -> dict[str, str]:
    """The driver's variables with these prefixes."""
    return {key: value for key, value in os.environ.items() if key.startswith(beginnings) and key not in OWN}


def _reach(address: str | None) -> None:
    """Tries to connect to an address that names a machine; Ray itself would retry for minutes.

    Raises:
        OSError: nothing responds.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal() and int(port) < 2**16:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keeps our SIGTERM handler: Ray's would end the process with another status, and its runs as failed."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # Ray's handler raises it if a signal arrives meanwhile
        raise Terminated() from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _allocate(resources: Resources) -> tuple[int, float, float]:
    """The number of jobs, and the cores and GPUs of each."""
    import ray  # imports ray

    free = ray.available_resources()
    free_cpus, free_gpus = free.get("CPU", 0.0), free.get("GPU", 0.0)
    total = ray.cluster_resources()
    if total.get("GPU", 0.0):
        room = _jobs_that_fit(free_gpus, resources.gpus_per_job)
        if room < (resources.jobs or 1):
            raise InvalidValue(
                "jobs",
                resources.jobs or "auto",
                f"the cluster has {free_gpus:g} of {total['GPU']:g} GPUs free and each training takes gpus_per_job="
                f"{resources.gpus_per_job:g}, so {room} fit: wait, or give fewer jobs or a smaller share",
            )
        jobs = resources.jobs or room
        return jobs, max(min(1.0, free_cpus / jobs), 0.0), resources.gpus_per_job
    if resources.gpus_per_job != 1:
        raise InvalidValue("gpus_per_job", resources.gpus_per_job, "the Ray cluster has no GPU; leave it at 1 for CPUs")
    jobs = resources.jobs or 1
    if jobs > free_cpus:
        raise InvalidValue(
            "jobs", resources.jobs or "auto", f"the cluster has {free_cpus:g} cores free and no GPU: give fewer jobs"
        )
    # An actor runs on one machine; if it requests more cores than any machine has, it never starts.
    largest = max(node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"])
    return jobs, float(int(min(free_cpus / jobs, largest))), 0.0


def _jobs_that_fit(gpus: float, share: float) -> int:
    """How many jobs fit; a share of a GPU cannot span two GPUs."""
    if share >= 1:
        return int(gpus / share)
    return int(gpus) * int(1 / share + 1e-9) + int(gpus % 1 / share + 1e-9)


class ActorPool:
    """Actors that pull tasks. Ray restarts an actor that dies; its run is marked as failed and its task returned."""

    def __init__(self, worker_context: WorkerContext, setup: WorkerSetup, jobs: int, cpus: float, gpus: float) -> None:
        import ray  # imports ray

        self._writer = worker_context.context.writer
        kind = ray.remote(RayWorker).options(num_cpus=cpus, num_gpus=gpus, max_restarts=-1)
        self._actors = [kind.remote(setup) for _ in range(jobs)]
        self._owners: dict[Any, str] = {}
        # An actor that returns its owner has started.
        self._starting = {actor.owner.remote(): actor for actor in self._actors}
        self._idle: deque[Any] = deque()

    def run(self, tasks: Iterable[Task], on_progress: OnProgress) -> Iterator[TaskResult]:
        import ray  # imports ray

        from proxyflow.core.signals import deferred_signals

        remaining = iter(tasks)
        busy: dict[Any, tuple[Any, Task]] = {}
        more = True
        while True:
            while more and self._idle:
                task = next(remaining, None)
                if task is None:
                    more = False
                else:
                    actor = self._idle.popleft()
                    busy[actor.train.remote(task)] = actor, task
            if not busy and not more:
                return
            with deferred_signals():  # ray.wait swallows exceptions of other signal handlers
                ready, _ = ray.wait([*busy, *self._starting], timeout=LONGEST_WAIT_SECONDS)
            for reference in ready:
                if reference in self._starting:
                    self._register(reference)
                    continue
                actor, task = busy.pop(reference)
                done = self._result(reference, actor, task)
                if done.status == "trained":
                    on_progress(task, 1.0, done.note)
                yield done

    def _register(self, reference: Any) -> None:
        import ray  # imports ray

        actor = self._starting.pop(reference)
        try:
            self._owners[actor] = ray.get(reference)
        except ray.exceptions.ActorDiedError as error:
            raise TrainingFailed(f"a Ray worker could not start: {one_line(error)}") from None
        except ray.exceptions.RayActorError:
            self._starting[actor.owner.remote()] = actor
        else:
            self._idle.append(actor)

    def _result(self, reference: Any, actor: Any, task: Task) -> TaskResult:
        import ray  # imports ray

        try:
            done: TaskResult = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            self._idle.append(actor)
            raise TrainingFailed(one_line(error.cause)) from None
        except ray.exceptions.RayError as error:
            self._writer.recovery.mark_failed(self._owners.pop(actor), DIED)
            self._starting[actor.owner.remote()] = actor
            return TaskResult(task, "failed", error=f"{DIED} ({type(error).__name__})", retryable=True)
        self._idle.append(actor)
        return done

    def close(self) -> None:
        """Ends the actors and their current runs."""
        import ray  # imports ray

        for actor in self._actors:
            ray.kill(actor)
        for owner in self._owners.values():
            self._writer.recovery.mark_failed(owner, "interrupted; run the same command to resume", "interrupted")


class RayWorker:
    """The actor: a worker with its own `StudyContext`."""

    def __init__(self, setup: WorkerSetup) -> None:
        for name in OWN:
            os.environ.pop(name, None)
        # Before the imports below, because MLflow reads some of these variables once.
        os.environ.update(setup.environment)
        os.environ["MLFLOW_TRACKING_URI"] = setup.server
        folder = Path(setup.folder)
        if folder.is_dir():
            os.chdir(folder)  # so that relative paths mean the same as for the driver
        from proxyflow.studies.context import StudyContext  # imports mlflow
        from proxyflow.studies.worker import Worker
        from proxyflow.tracking.connection import connect
        from proxyflow.tracking.runs.writer import RunWriter

        client = connect(setup.retry_timeout)
        writer = RunWriter(client, setup.study, setup.system_metrics)
        context = StudyContext(client, writer, price_per_hour=setup.price_per_hour, data=setup.data)
        self._worker = Worker(context, setup.parent_id)

    def owner(self) -> str:
        """Identifies this process."""
        from proxyflow.tracking.runs.owner import this_process

        return this_process()

    def train(self, task: Task) -> TaskResult:
        """Runs one training."""
        return self._worker.train(task, lambda task, share, note: None)
