"""An executor: one training after the other, whatever devices there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from proxyflow.core.errors import InvalidValue
from proxyflow.studies.executors import Resources, WorkerContext, WorkerPool
from proxyflow.studies.tasks import OnProgress, Task, TaskResult

if TYPE_CHECKING:
    from proxyflow.studies.worker import Worker


class InTurn:
    """One worker in this process."""

    description = "this process, one training after the other"

    def check(self, resources: Resources) -> None:
        if (resources.jobs or 1) != 1:
            raise InvalidValue("jobs", resources.jobs, "executor=in-turn makes one training at a time; give jobs=1")

    def jobs(self, resources: Resources) -> int:
        self.check(resources)
        return 1

    @contextmanager
    def open(self, bench: WorkerContext, resources: Resources) -> Iterator[WorkerPool]:
        from proxyflow.studies.worker import Worker  # imports torch

        yield One(Worker(bench.context, bench.parent_id))


class One:
    """A worker in the caller's thread."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Iterable[Task], on_progress: OnProgress) -> Iterator[TaskResult]:
        return (self.worker.train(task, on_progress) for task in tasks)


in_turn = InTurn()
