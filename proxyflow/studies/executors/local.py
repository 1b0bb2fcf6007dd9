"""This process: one worker on a CPU, one per GPU where there are some."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from proxyflow.errors import InvalidValue, Terminated
from proxyflow.studies.executors.base import Bench, Pool, Resources
from proxyflow.studies.tasks import Done, OnShare, Task
from proxyflow.training.precision import may_have_gpu

if TYPE_CHECKING:
    import torch

    from proxyflow.studies.worker import Worker


class Local:
    """Workers of this process, a thread for each GPU where there are several."""

    description = "this process: one training per GPU at a time, or one on a CPU"

    def check(self, resources: Resources) -> None:
        if resources.address is not None:
            raise InvalidValue("address", resources.address, "executor=local is this process alone; give executor=ray")
        if resources.gpus_per_job != 1:
            raise InvalidValue(
                "gpus_per_job",
                resources.gpus_per_job,
                "executor=local gives each training a GPU of its own; executor=ray shares them",
            )

    def jobs(self, resources: Resources) -> int:
        self.check(resources)
        if not may_have_gpu():
            return self._at_most(1, "no GPU, and uses all cores for each", resources)
        return len(self._devices(resources))

    def _devices(self, resources: Resources) -> list[torch.device]:
        from proxyflow.training.devices import all_devices

        devices = all_devices()
        found = f"{len(devices)} GPUs" if devices[0].type == "cuda" else "no GPU, and uses all cores for each"
        return devices[: self._at_most(len(devices), found, resources)]

    @staticmethod
    def _at_most(room: int, found: str, resources: Resources) -> int:
        if resources.jobs is not None and resources.jobs > room:
            raise InvalidValue(
                "jobs",
                resources.jobs,
                f"executor=local trains one at a time per GPU and finds {found}: jobs may be at most {room}",
            )
        return resources.jobs or room

    @contextmanager
    def open(self, bench: Bench, resources: Resources) -> Iterator[Pool]:
        from proxyflow.studies.worker import Worker

        devices = self._devices(resources)
        labs = [dataclasses.replace(bench.lab, chosen=device) for device in devices]
        workers = [Worker(lab, bench.parent_id) for lab in labs]
        yield Single(workers[0]) if len(workers) == 1 else Threads(workers)


class Single:
    """One worker, in the caller's thread."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Iterable[Task], on_share: OnShare) -> Iterator[Done]:
        return (self.worker.train(task, on_share) for task in tasks)


class Threads:
    """Several workers, a thread for each; torch leaves Python while a device works."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers

    def run(self, tasks: Iterable[Task], on_share: OnShare) -> Iterator[Done]:
        ended: queue.SimpleQueue[tuple[Worker, Done | BaseException]] = queue.SimpleQueue()
        stop = threading.Event()

        def share(task: Task, part: float, note: str) -> None:
            if stop.is_set():
                raise Terminated()
            on_share(task, part, note)

        def work(worker: Worker, task: Task) -> None:
            try:
                ended.put((worker, worker.train(task, share)))
            except BaseException as error:
                ended.put((worker, error))

        coming, idle, threads = iter(tasks), list(self.workers), list[threading.Thread]()
        busy = 0
        try:
            while True:
                while idle and (task := next(coming, None)) is not None:
                    thread = threading.Thread(target=work, args=(idle.pop(0), task), name="proxyflow-worker")
                    thread.start()
                    threads = [each for each in threads if each.is_alive()] + [thread]
                    busy += 1
                if not busy:
                    return
                worker, done = ended.get()
                busy -= 1
                idle.append(worker)
                if isinstance(done, BaseException):
                    raise done
                yield done
        finally:
            # An interruption reaches the caller's thread alone; the others end their runs at the next epoch.
            stop.set()
            for thread in threads:
                thread.join()
