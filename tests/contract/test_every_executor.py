"""Every executor says what it cannot do before anything is begun; threads do each task once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from proxyflow.errors import InvalidValue
from proxyflow.studies.executors import Executor, Resources, executors
from proxyflow.studies.executors.local import Threads
from proxyflow.studies.tasks import Done, OnShare, Task
from proxyflow.studies.worker import Worker


@pytest.fixture(params=list(executors))
def executor(request: pytest.FixtureRequest) -> Executor:
    return executors[request.param]


def test_the_defaults_are_always_possible(executor: Executor) -> None:
    executor.check(Resources())


def test_it_says_in_a_line_what_it_is(executor: Executor) -> None:
    assert executor.description
    assert "\n" not in executor.description


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (Resources(jobs=300), "jobs=300 is not accepted: executor=local trains one at a time per GPU"),
        (
            Resources(address="auto"),
            "address=auto is not accepted: executor=local is this process alone; give executor=ray",
        ),
        (Resources(gpus_per_job=0.5), "gpus_per_job=0.5 is not accepted: .*executor=ray shares them"),
    ],
)
def test_local_refuses_what_it_has_not(resources: Resources, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        executors["local"].jobs(resources)


def test_ray_that_is_missing_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.studies.executors.ray.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidValue, match=r"pip install 'proxyflow\[ray\]'"):
        executors["ray"].check(Resources())


class Fake:
    """A worker that says which task it had."""

    def __init__(self, meet: threading.Barrier | None = None, fails: bool = False) -> None:
        self.meet, self.fails = meet, fails

    def train(self, task: Task, on_share: OnShare) -> Done:
        if self.meet is not None:
            self.meet.wait(30)
        if self.fails:
            raise ZeroDivisionError(task)
        on_share(task, 1.0, "")
        return Done(task, "trained")


def pool(*workers: Fake) -> Threads:
    return Threads([cast(Worker, worker) for worker in workers])


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
