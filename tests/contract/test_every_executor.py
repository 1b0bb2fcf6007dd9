"""Every executor says what it cannot do before anything is begun; threads do each task once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from proxyflow.core.errors import InvalidValue
from proxyflow.studies.executors import Resources, executors
from proxyflow.studies.executors.local import ThreadedPool
from proxyflow.studies.tasks import OnProgress, Task, TaskResult
from proxyflow.studies.worker import Worker
from proxyflow.testing import Check, executor_checks

# These start Ray.
SLOW = (
    "what_it_has_no_room_for_is_refused_before_anything_is_begun",
    "it_trains_each_task_once_with_the_results_of_one_process",
)
CHECKS = [
    pytest.param(
        check, id=f"{name}-{check}", marks=[pytest.mark.slow] if (name, check.name in SLOW) == ("ray", True) else []
    )
    for name in executors
    for check in executor_checks(name)
    if (name, check.name) != ("local", SLOW[-1])  # it is what others are compared with
]


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_its_promises(check: Check) -> None:
    check()


@pytest.mark.parametrize(("name", "value"), [("jobs", 300), ("address", "auto"), ("gpus_per_job", 0.5)])
def test_local_refuses_what_it_has_not(name: str, value: Any) -> None:
    with pytest.raises(InvalidValue) as raised:
        executors["local"].jobs(Resources(**{name: value}))
    assert (raised.value.name, raised.value.value) == (name, value)


def test_ray_that_is_missing_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.studies.executors.ray.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidValue, match=r"pip install 'proxyflow\[ray\]'"):
        executors["ray"].check(Resources())


class Fake:
    """A worker that says which task it had."""

    def __init__(self, meet: threading.Barrier | None = None, fails: bool = False) -> None:
        self.meet, self.fails = meet, fails

    def train(self, task: Task, on_progress: OnProgress) -> TaskResult:
        if self.meet is not None:
            self.meet.wait(30)
        if self.fails:
            raise ZeroDivisionError(task)
        on_progress(task, 1.0, "")
        return TaskResult(task, "trained")


def pool(*workers: Fake) -> ThreadedPool:
    return ThreadedPool([cast(Worker, worker) for worker in workers])


def tasks(count: int, taken: list[int]) -> Iterator[Task]:
    for n in range(count):
        taken.append(n)
        yield cast(Task, n)


def test_threads_do_each_task_once_at_the_same_time() -> None:
    meet = threading.Barrier(2)
    shared: list[object] = []
    done = pool(Fake(meet), Fake(meet)).run(tasks(20, []), lambda task, share, note: shared.append(task))
    assert sorted(cast(int, each.task) for each in done) == list(range(20))
    assert sorted(cast("list[int]", shared)) == list(range(20))


def test_threads_begin_nothing_before_a_worker_is_free_for_it() -> None:
    taken: list[int] = []
    ended = pool(Fake(), Fake()).run(tasks(10, taken), lambda *told: None)
    assert taken == []
    next(ended)
    assert len(taken) <= 3


def test_an_error_of_a_worker_is_the_callers_and_no_thread_stays() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        list(pool(Fake(), Fake(fails=True)).run(tasks(10, []), lambda *told: None))
    assert set(threading.enumerate()) <= before
