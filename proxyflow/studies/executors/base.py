"""The executor protocol: workers that pull trainings, and the resources that a user assigns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxyflow.core.registry import Registry, missing_member
from proxyflow.studies.tasks import OnProgress, Task, TaskResult

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext


@dataclass(frozen=True)
class Resources:
    """Resources for an executor.

    Attributes:
        jobs: concurrent trainings; None for as many as fit.
        gpus_per_job: GPUs per training; below 1, trainings share a GPU.
        address: address of an existing cluster; None starts one on this machine.
    """

    jobs: int | None = None
    gpus_per_job: float = 1.0
    address: str | None = None


@dataclass(frozen=True, eq=False)
class WorkerContext:
    """What an executor needs to create workers.

    Attributes:
        context: the context of this process.
        parent_id: id of the run that trainings are nested in.
    """

    context: StudyContext
    parent_id: str


class WorkerPool(Protocol):
    """A pool of ready workers."""

    def run(self, tasks: Iterable[Task], on_progress: OnProgress) -> Iterator[TaskResult]:
        """Pulls tasks whenever a worker is free, and yields the result of each."""
        ...


class Executor(Protocol):
    """Runs trainings.

    Attributes:
        description: one line for `--help`.
    """

    description: str

    def check(self, resources: Resources) -> None:
        """Validates resources, before any run starts.

        Raises:
            InvalidValue: it cannot use them; the message says what it can use.
        """
        ...

    def jobs(self, resources: Resources) -> int:
        """The number of concurrent trainings.

        Raises:
            InvalidValue: the requested number does not fit, or not even one training fits.
        """
        ...

    def open(self, worker_context: WorkerContext, resources: Resources) -> AbstractContextManager[WorkerPool]:
        """Creates the workers, and releases them at the end of the block, also on errors and interruptions."""
        ...


MEMBERS = {"description": str, "check": Callable, "jobs": Callable, "open": Callable}
executors: Registry[Executor] = Registry(
    "executor", "proxyflow.executors", lambda name, item: missing_member(item, MEMBERS)
)
