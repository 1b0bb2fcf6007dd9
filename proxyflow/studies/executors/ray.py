"""Ray: long-lived actors that keep the data on their device and pull trainings, on one machine or a cluster.

The only module that imports ray, which is an optional extra.
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

from proxyflow.data.catalog import DataOptions
from proxyflow.errors import InvalidValue, Terminated, TrainingFailed, one_line
from proxyflow.studies.executors.base import Bench, Pool, Resources
from proxyflow.studies.tasks import Done, OnShare, Task

if TYPE_CHECKING:
    from proxyflow.tracking.system import Sampling

# What a worker needs of the driver's environment to find the data.
FORWARDED = ("PROXYFLOW_", "OMP_NUM_THREADS")
# And to reach the server and its artifacts. Passwords and keys are among it, and Ray writes the environment that it is
# asked for into its logs and the command lines of its processes.
SECRET = ("MLFLOW_", "AWS_")
# The driver's own run: a worker that took it over would write to it.
OWN = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
REACH_SECONDS = 5
LONGEST_WAIT_SECONDS = 0.5  # for a worker, before signals are looked at
DIED = "its worker process died before the run ended"


@dataclass(frozen=True)
class Setup:
    """What an actor makes its lab from.

    Attributes:
        server, environment: where to, and variables to set before; they may hold credentials.
    """

    study: str
    server: str = field(repr=False)
    patience: float
    price_per_hour: float | None
    sampling: Sampling | None
    data: DataOptions
    parent_id: str
    folder: str
    environment: dict[str, str] = field(repr=False)


class Ray:
    """Workers are Ray actors."""

    description = "Ray actors, on this machine or on the cluster at address; needs proxyflow[ray]"

    def check(self, resources: Resources) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InvalidValue("executor", "ray", "Ray is not installed: pip install 'proxyflow[ray]', or take local")
        if resources.gpus_per_job > 1 and resources.gpus_per_job != int(resources.gpus_per_job):
            raise InvalidValue("gpus_per_job", resources.gpus_per_job, "above 1 Ray gives whole GPUs only")

    def jobs(self, resources: Resources) -> int:
        self.check(resources)
        _start(resources)
        return _room(resources)[0]

    @contextmanager
    def open(self, bench: Bench, resources: Resources) -> Iterator[Pool]:
        self.check(resources)
        _start(resources)
        jobs, cpus, gpus = _room(resources)
        bench.lab.say(f"executor ray: {jobs} worker(s) with {cpus:g} core(s) and {gpus:g} GPU(s) each")
        pool = Actors(bench, _setup(bench), jobs, cpus, gpus)
        try:
            yield pool
        finally:
            pool.close()


def _setup(bench: Bench) -> Setup:
    from proxyflow.tracking.connection import server_uri
    from proxyflow.tracking.outages import patience_of

    lab = bench.lab
    return Setup(
        lab.writer.study,
        server_uri(),
        patience_of(lab.client),
        lab.price_per_hour,
        lab.writer.sampling,
        lab.data,
        bench.parent_id,
        str(Path.cwd()),
        _variables(SECRET),
    )


def _start(resources: Resources) -> None:
    """Connects to the cluster, or starts one on this machine, once per process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return
    environment = _variables(FORWARDED)
    runtime: dict[str, Any] = {"env_vars": environment}
    package = Path(__file__).parents[2]
    if resources.address is None:
        environment["PYTHONPATH"] = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
        # Said outright, since RAY_ADDRESS would name a cluster.
        options: dict[str, Any] = {"address": "local", "include_dashboard": False}
    else:
        # All machines of the cluster run this very code.
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
            f"no Ray cluster answers there ({one_line(error)}); start one with ray start --head, or give none",
        ) from None


def _variables(beginnings: tuple[str, ...]) -> dict[str, str]:
    """The driver's variables whose names begin so."""
    return {key: value for key, value in os.environ.items() if key.startswith(beginnings) and key not in OWN}


def _reach(address: str | None) -> None:
    """Tries an address that names a machine: where nothing answers, Ray itself would try for minutes.

    Raises:
        OSError: nothing answers.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal() and int(port) < 2**16:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keeps SIGTERM ours: Ray's handler would end the process with another status, and its runs as failed."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # its handler's answer to a signal that came meanwhile
        raise Terminated() from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _room(resources: Resources) -> tuple[int, float, float]:
    """How many jobs there are, and how many cores and GPUs each has."""
    import ray

    free = ray.available_resources()
    free_cpus, free_gpus = free.get("CPU", 0.0), free.get("GPU", 0.0)
    total = ray.cluster_resources()
    if total.get("GPU", 0.0):
        room = _rooms(free_gpus, resources.gpus_per_job)
        if room < (resources.jobs or 1):
            raise InvalidValue(
                "jobs",
                resources.jobs or "auto",
                f"the cluster has {free_gpus:g} of {total['GPU']:g} GPUs free and each training takes gpus_per_job="
                f"{resources.gpus_per_job:g}, which is room for {room}: wait, or give fewer jobs or a smaller share",
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
    # An actor is on one machine; one that asks for more cores than any has would never start.
    largest = max(node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"])
    return jobs, float(int(min(free_cpus / jobs, largest))), 0.0


def _rooms(gpus: float, share: float) -> int:
    """How many jobs there is room for: a share of a GPU is on one GPU."""
    if share >= 1:
        return int(gpus / share)
    return int(gpus) * int(1 / share + 1e-9) + int(gpus % 1 / share + 1e-9)


class Actors:
    """Actors that pull tasks; one that dies is started again, its run is ended and its task given back."""

    def __init__(self, bench: Bench, setup: Setup, jobs: int, cpus: float, gpus: float) -> None:
        import ray

        self._writer = bench.lab.writer
        kind = ray.remote(Remote).options(num_cpus=cpus, num_gpus=gpus, max_restarts=-1)
        self._actors = [kind.remote(setup) for _ in range(jobs)]
        self._owners: dict[Any, str] = {}
        # Who an actor is, is also the sign that it has started.
        self._starting = {actor.owner.remote(): actor for actor in self._actors}
        self._idle: deque[Any] = deque()

    def run(self, tasks: Iterable[Task], on_share: OnShare) -> Iterator[Done]:
        import ray

        from proxyflow.tracking.run import held_signals

        coming = iter(tasks)
        busy: dict[Any, tuple[Any, Task]] = {}
        more = True
        while True:
            while more and self._idle:
                task = next(coming, None)
                if task is None:
                    more = False
                else:
                    actor = self._idle.popleft()
                    busy[actor.train.remote(task)] = actor, task
            if not busy and not more:
                return
            with held_signals():  # Ray's wait passes on no exception of a handler but its own
                ready, _ = ray.wait([*busy, *self._starting], timeout=LONGEST_WAIT_SECONDS)
            for reference in ready:
                if reference in self._starting:
                    self._greet(reference)
                    continue
                actor, task = busy.pop(reference)
                done = self._result(reference, actor, task)
                if done.status == "trained":
                    on_share(task, 1.0, done.note)
                yield done

    def _greet(self, reference: Any) -> None:
        import ray

        actor = self._starting.pop(reference)
        try:
            self._owners[actor] = ray.get(reference)
        except ray.exceptions.ActorDiedError as error:
            raise TrainingFailed(f"a Ray worker could not start: {one_line(error)}") from None
        except ray.exceptions.RayActorError:
            self._starting[actor.owner.remote()] = actor
        else:
            self._idle.append(actor)

    def _result(self, reference: Any, actor: Any, task: Task) -> Done:
        import ray

        try:
            done: Done = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            self._idle.append(actor)
            raise TrainingFailed(one_line(error.cause)) from None
        except ray.exceptions.RayError as error:
            self._writer.bury(self._owners.pop(actor), DIED)
            self._starting[actor.owner.remote()] = actor
            return Done(task, "failed", error=f"{DIED} ({type(error).__name__})", may_pass=True)
        self._idle.append(actor)
        return done

    def close(self) -> None:
        """Ends the actors, and the runs that they were at."""
        import ray

        for actor in self._actors:
            ray.kill(actor)
        for owner in self._owners.values():
            self._writer.bury(owner, "interrupted; the same command again resumes", "interrupted")


class Remote:
    """The actor: a worker with a lab of its own."""

    def __init__(self, setup: Setup) -> None:
        for name in OWN:
            os.environ.pop(name, None)
        # Before the imports below: MLflow, and what we set of it, read some of these once.
        os.environ.update(setup.environment)
        os.environ["MLFLOW_TRACKING_URI"] = setup.server
        folder = Path(setup.folder)
        if folder.is_dir():
            os.chdir(folder)  # relative paths of stores and folders mean the same as for the driver
        from proxyflow.studies.lab import Lab
        from proxyflow.studies.worker import Worker
        from proxyflow.tracking.connection import connect
        from proxyflow.tracking.runs import RunWriter

        client = connect(setup.patience)
        writer = RunWriter(client, setup.study, setup.sampling)
        lab = Lab(client, writer, price_per_hour=setup.price_per_hour, data=setup.data)
        self._worker = Worker(lab, setup.parent_id)

    def owner(self) -> str:
        """Which process this is."""
        from proxyflow.tracking.owner import this_process

        return this_process()

    def train(self, task: Task) -> Done:
        """One training."""
        return self._worker.train(task, lambda task, share, note: None)
