"""What every executor is: workers that pull trainings, and the resources that a user gives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxyflow.registry import Registry
from proxyflow.studies.tasks import Done, OnShare, Task

if TYPE_CHECKING:
    from proxyflow.studies.lab import Lab


@dataclass(frozen=True)
class Resources:
    """What a user gives an executor.

    Attributes:
        jobs: trainings at a time, None is as many as the executor finds room for.
        gpus_per_job: GPUs of each; less than one shares a GPU between jobs.
        address: an existing cluster, None starts one on this machine.
    """

    jobs: int | None = None
    gpus_per_job: float = 1.0
    address: str | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What workers are made from.

    Attributes:
        lab: of this process.
        parent_id: the run that trainings are nested in.
    """

    lab: Lab
    parent_id: str


class Pool(Protocol):
    """Workers that are ready."""

    def run(self, tasks: Iterable[Task], on_share: OnShare) -> Iterator[Done]:
        """Trains tasks as they are asked for and yields how each ended; one that is not yet taken is not begun."""
        ...


class Executor(Protocol):
    """Where trainings run."""

    description: str

    def check(self, resources: Resources) -> None:
        """Refuses resources that it cannot use, before anything is begun.

        Raises:
            InvalidValue: with what it can use.
        """
        ...

    def jobs(self, resources: Resources) -> int:
        """How many trainings will run at a time.

        Raises:
            InvalidValue: there is no room for as many as were asked for, or for one.
        """
        ...

    def open(self, bench: Bench, resources: Resources) -> AbstractContextManager[Pool]:
        """Makes the workers; they are gone after the block, also where it is interrupted."""
        ...


executors: Registry[Executor] = Registry("executor")
