"""Every executor does each item once, begins nothing before it is asked for, and says what it cannot do."""

from __future__ import annotations

import pytest

from proxyflow.errors import InvalidValue
from proxyflow.studies.executors import Executor, executors


@pytest.fixture(params=list(executors))
def executor(request: pytest.FixtureRequest) -> Executor:
    return executors[request.param]


def test_each_item_is_done_once(executor: Executor) -> None:
    assert sorted(executor.map(lambda n: n * n, range(20))) == [n * n for n in range(20)]


def test_nothing_is_begun_before_it_is_asked_for(executor: Executor) -> None:
    taken: list[int] = []

    def items() -> object:
        for n in range(10):
            taken.append(n)
            yield n

    results = executor.map(lambda n: n, items())  # type: ignore[arg-type]
    assert taken == []
    next(results)
    assert len(taken) < 10


def test_an_error_is_the_callers(executor: Executor) -> None:
    def fail(n: int) -> int:
        raise ZeroDivisionError(n)

    with pytest.raises(ZeroDivisionError):
        list(executor.map(fail, [1]))


def test_one_job_is_always_possible(executor: Executor) -> None:
    executor.check(1)


def test_local_refuses_parallel_jobs() -> None:
    with pytest.raises(InvalidValue, match="jobs=3"):
        executors["local"].check(3)
