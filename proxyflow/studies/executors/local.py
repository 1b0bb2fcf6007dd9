"""The local executor: one worker on a CPU, or one thread per GPU of this process."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from proxyflow.core.errors import InvalidValue, Terminated
from proxyflow.core.platform import may_have_gpu
from proxyflow.studies.executors.base import Resources, WorkerContext, WorkerPool
from proxyflow.studies.tasks import OnProgress, Task, TaskResult

if TYPE_CHECKING:
    import torch

    from proxyflow.studies.worker import Worker


NO_GPU = "no GPU (a training on a CPU uses all cores)"


class LocalExecutor:
    """Workers in this process, one thread per GPU.

    All of them use the study's precision: torch has one TF32 switch per process, see `trainers.images.tf32`.
    """

    description = "this process: one training per GPU at a time, or one on a CPU"

    def check(self, resources: Resources) -> None:
        if resources.address is not None:
            raise InvalidValue(
                "address", resources.address, "executor=local runs in this process only; use executor=ray"
            )
        if resources.gpus_per_job != 1:
            raise InvalidValue(
                "gpus_per_job",
                resources.gpus_per_job,
                "executor=local assigns one GPU to each training; use executor=ray to share GPUs",
            )

    def jobs(self, resources: Resources) -> int:
        self.check(resources)
        if not may_have_gpu():
            return self._at_most(1, NO_GPU, resources)
        return len(self._devices(resources))

    def _devices(self, resources: Resources) -> list[torch.device]:
        from proxyflow.trainers.devices import all_devices  # imports torch

        devices = all_devices()
        found = f"{len(devices)} GPUs" if devices[0].type == "cuda" else NO_GPU
        return devices[: self._at_most(len(devices), found, resources)]

    @staticmethod
    def _at_most(room: int, found: str, resources: Resources) -> int:
        if resources.jobs is not None and resources.jobs > room:
            raise InvalidValue(
                "jobs",
                resources.jobs,
                f"executor=local runs one training per GPU and finds {found}: jobs may be at most {room}",
            )
        return resources.jobs or room

    @contextmanager
    def open(self, worker_context: WorkerContext, resources: Resources) -> Iterator[WorkerPool]:
        from proxyflow.studies.worker import Worker  # imports torch

        devices = self._devices(resources)
        contexts = [dataclasses.replace(worker_context.context, chosen_device=device) for device in devices]
        workers = [Worker(context, worker_context.parent_id) for context in contexts]
        yield SingleWorkerPool(workers[0]) if len(workers) == 1 else ThreadedPool(workers)


class SingleWorkerPool:
    """One worker in the caller's thread."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Iterable[Task], on_progress: OnProgress) -> Iterator[TaskResult]:
        return (self.worker.train(task, on_progress) for task in tasks)


class ThreadedPool:
    """One thread per worker; torch releases the GIL while a device computes."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers

    def run(self, tasks: Iterable[Task], on_progress: OnProgress) -> Iterator[TaskResult]:
        results: queue.SimpleQueue[tuple[Worker, TaskResult | BaseException]] = queue.SimpleQueue()
        stop = threading.Event()

        def share(task: Task, part: float, note: str) -> None:
            if stop.is_set():
                raise Terminated()
            on_progress(task, part, note)

        def work(worker: Worker, task: Task) -> None:
            try:
                results.put((worker, worker.train(task, share)))
            except BaseException as error:
                results.put((worker, error))

        remaining, idle, threads = iter(tasks), list(self.workers), list[threading.Thread]()
        busy = 0
        try:
            while True:
                while idle and (task := next(remaining, None)) is not None:
                    thread = threading.Thread(target=work, args=(idle.pop(0), task), name="proxyflow-worker")
                    thread.start()
                    threads = [each for each in threads if each.is_alive()] + [thread]
                    busy += 1
                if not busy:
                    return
                worker, done = results.get()
                busy -= 1
                idle.append(worker)
                if isinstance(done, BaseException):
                    raise done
                yield done
        finally:
            # Only the caller's thread receives an interruption; the others end their runs at the next epoch.
            stop.set()
            for thread in threads:
                thread.join()
