"""Executors: where the trainings of a study run, behind one registry.

An executor applies a function to items and yields the results in any order, as they are ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from proxyflow.errors import InvalidValue
from proxyflow.registry import Registry

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs the trainings of a study."""

    description: str

    def check(self, jobs: int) -> None:
        """Refuses a number of parallel jobs that it cannot run.

        Raises:
            InvalidValue: with the number that it can.
        """
        ...

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Applies `work` to items as they are asked for; an item not yet taken is not begun."""
        ...


class Local:
    """This process, one training after the other: torch uses all cores, or the GPU, for each."""

    description = "one training after the other in this process"

    def check(self, jobs: int) -> None:
        if jobs != 1:
            raise InvalidValue(
                "jobs", jobs, "executor=local runs one training at a time, on all cores or the GPU, so jobs must be 1"
            )

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(work, items)


executors: Registry[Executor] = Registry("executor")
executors.add("local", Local())
