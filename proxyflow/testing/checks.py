"""A check: one promise of a plug-in, by name, so that a failure says which promise is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One promise; calling it raises an `AssertionError` that says how it is broken."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()

    def __str__(self) -> str:
        return self.name


def run_checks(checks: Iterable[Check]) -> None:
    """Runs all checks.

    Raises:
        AssertionError: some fail; it names each with its reason.
    """
    failed = []
    for check in checks:
        try:
            check()
        except Exception as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            failed.append(f"{check}: {kind}{error}")
    assert not failed, "\n".join([f"{len(failed)} checks fail", *failed])


class Contract(Generic[T]):
    """All that one kind of plug-in promises: functions of a plug-in, each declared by the decorator `promise`."""

    def __init__(self) -> None:
        self._promises: list[Callable[[T], None]] = []

    def promise(self, function: Callable[[T], None]) -> Callable[[T], None]:
        """Declares a check, named like the function."""
        self._promises.append(function)
        return function

    def checks(self, plugin: T) -> tuple[Check, ...]:
        """The checks of one plug-in."""
        return tuple(Check(function.__name__, partial(function, plugin)) for function in self._promises)


def assert_same(found: ArrayLike, expected: ArrayLike, what: str) -> None:
    """Refuses arrays that differ; nan equals nan.

    Raises:
        AssertionError: it begins with `what`.
    """
    np.testing.assert_array_equal(found, expected, err_msg=what)
