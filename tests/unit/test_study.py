"""Hands out a study's tasks without training any: what is tried again, what is left to others, when it stops."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from image_training import planned_of, spec_of

from proxyflow.spaces.metric import ACCURACY
from proxyflow.studies import scheduler
from proxyflow.studies.context import StudyContext
from proxyflow.studies.executors import WorkerPool, executors
from proxyflow.studies.leaderboard import Leaderboard
from proxyflow.studies.progress import StudyProgress
from proxyflow.studies.scheduler import ExecutionOptions, Limits, Scheduler
from proxyflow.studies.study import Outcome
from proxyflow.studies.tasks import OnProgress, SubsetRef, Task, TaskResult
from proxyflow.tracking import names
from proxyflow.tracking.runs.run import Run

PLANNED = planned_of("full", spec_of())
UNLIMITED = Limits()
TASKS = [Task(PLANNED, SubsetRef("run", "", "", 0), key) for key in "abc"]


class Server:
    """Who else is at what, and what is finished; each look of ours is counted."""

    experiment_id = "1"

    def __init__(self) -> None:
        self.working: set[str] = set()
        self.finished: set[str] = set()
        self.looks = 0
        self.recovery = self
        self.after_look: Callable[[Server], None] = lambda server: None

    def is_claimed(self, kind: str, key: str) -> bool:
        return key in self.working | self.finished

    def fail_stale_runs(self) -> int:
        self.looks += 1
        self.after_look(self)
        return 0

    def search(self, *given: object, **wanted: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(tags={names.RUN_KEY: key}) for key in self.working]


class Workers:
    """A pool of one, which does what it is told to, by key and try."""

    def __init__(self, told: dict[str, list[dict[str, Any]]], clock: list[float]) -> None:
        self.told, self.clock = told, clock
        self.begun: list[str] = []

    def run(self, tasks: Iterable[Task], on_progress: OnProgress) -> Iterator[TaskResult]:
        for task in tasks:
            self.begun.append(task.key)
            self.clock[0] += 3600
            told = self.told[task.key]
            yield TaskResult(task, **(told.pop(0) if told else {"status": "trained"}))


@dataclasses.dataclass
class Case:
    """A study of three tasks, an hour each."""

    server: Server
    workers: Workers
    board: StudyProgress
    rounds: Scheduler
    said: list[str]


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Case]:
    def make(
        limits: Limits = UNLIMITED, retries: int = 2, price: float | None = None, **told: list[dict[str, Any]]
    ) -> Case:
        server, clock, said = Server(), [0.0], list[str]()
        monkeypatch.setattr(scheduler, "search", server.search)
        monkeypatch.setattr(scheduler, "finished_in_study", lambda context: dict.fromkeys(server.finished, 0.5))
        monkeypatch.setattr(scheduler, "POLL_SECONDS", (0.0, 0.0))
        context = StudyContext(cast(Any, None), cast(Any, server), torch.device("cpu"), price, say=said.append)
        run = cast(Run, SimpleNamespace(log_metrics=lambda metrics, step=0: None))
        board = StudyProgress(
            context, run, len(TASKS), 0, TASKS, lambda task: 1.0, lambda: clock[0], Leaderboard(ACCURACY)
        )
        workers = Workers(defaultdict(list, told), clock)
        how = ExecutionOptions(executors["local"], limits=limits, retries=retries)
        return Case(
            server, workers, board, Scheduler(context, cast(WorkerPool, workers), how, board, lambda: clock[0]), said
        )

    return make


LOST = {"status": "failed", "error": "its worker died", "retryable": True}
WRONG = {"status": "failed", "error": "KeyError: x", "retryable": False}


def test_every_task_is_done_once_in_order(case: Callable[..., Case]) -> None:
    this = case()
    assert this.rounds.run(TASKS) == ""
    assert this.workers.begun == ["a", "b", "c"]
    assert (this.board.finished, this.board.made, this.board.failed) == (3, 3, {})


def test_what_others_finish_is_counted_while_there_is_more_to_do(case: Callable[..., Case]) -> None:
    this = case(a=[{"status": "taken"}])
    this.server.finished = {"a"}
    standing = []
    begin = this.board.begin
    this.board.begin = lambda task: (standing.append((task.key, this.board.finished)), begin(task))[1]  # type: ignore[method-assign,func-returns-value]
    assert this.rounds.run(TASKS) == ""
    # Without it the time left would be that of all tasks by this process alone, until the very end.
    assert standing == [("a", 0), ("b", 1), ("c", 2)]
    assert (this.board.finished, this.board.made) == (3, 2)


def test_asking_what_others_have_finished_takes_little_of_the_time(
    case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    this = case()
    asked: list[float] = []
    now = [0.0]

    def slow(context: StudyContext) -> dict[str, float]:
        asked.append(now[0])
        now[0] += 3
        return {}

    monkeypatch.setattr(scheduler, "finished_in_study", slow)
    this.rounds.clock = lambda: now[0]
    this.rounds.claimed_by_others = [TASKS[0]]
    for moment in range(0, 1000, 10):
        now[0] = max(now[0], float(moment))
        if now[0] >= this.rounds.count_at:
            this.rounds._count_finished()
    # The first after a minute; three seconds each, so the next after three hundred.
    assert asked == [60.0, 370.0, 680.0, 990.0]


def test_what_may_pass_is_tried_again_after_the_others(case: Callable[..., Case]) -> None:
    this = case(a=[LOST, LOST])
    this.rounds.run(TASKS)
    assert this.workers.begun == ["a", "b", "c", "a", "a"]
    assert (this.board.made, this.board.failed) == (3, {})


def test_no_more_often_than_retries_say(case: Callable[..., Case]) -> None:
    this = case(a=[LOST] * 9, retries=1)
    this.rounds.run(TASKS)
    assert this.workers.begun == ["a", "b", "c", "a"]
    assert {key: error for key, (_, error) in this.board.failed.items()} == {"a": "its worker died"}


def test_what_stays_is_not_tried_again_and_the_rest_goes_on(case: Callable[..., Case]) -> None:
    this = case(a=[WRONG])
    this.rounds.run(TASKS)
    assert this.workers.begun == ["a", "b", "c"]
    assert list(this.board.failed) == ["a"]
    assert this.board.made == 2


def test_a_task_of_another_process_is_waited_for_and_counts_as_found(case: Callable[..., Case]) -> None:
    this = case(a=[{"status": "taken"}])
    this.server.working = {"a"}

    def end(server: Server) -> None:
        if server.looks == 3:
            server.working, server.finished = set(), {"a"}

    this.server.after_look = end
    assert this.rounds.run(TASKS) == ""
    assert this.workers.begun == ["a", "b", "c"]
    assert this.server.looks == 3
    assert (this.board.finished, this.board.made) == (3, 2)
    assert len(this.said) == 1


def test_what_another_process_has_left_is_taken_over(case: Callable[..., Case]) -> None:
    this = case(a=[{"status": "taken"}])
    this.server.working = {"a"}
    this.server.after_look = lambda server: server.working.clear()
    this.rounds.run(TASKS)
    assert this.workers.begun == ["a", "b", "c", "a"]
    assert this.board.made == 3


def test_once_another_process_is_seen_what_it_is_at_is_not_begun(case: Callable[..., Case]) -> None:
    this = case(a=[{"status": "taken"}])
    this.server.working = {"a", "b"}
    this.server.after_look = lambda server: (server.finished.update("ab"), server.working.clear())[-1]
    this.rounds.run(TASKS)
    assert this.workers.begun == ["a", "c"]
    assert (this.board.finished, this.board.made) == (3, 1)


@pytest.mark.parametrize(
    ("limits", "price", "said"),
    [
        (Limits(max_hours=2), None, "max_hours=2 is reached"),
        (Limits(max_cost_usd=3), 1.5, "max_cost_usd=3 is reached"),
    ],
)
def test_a_limit_stops_between_two_tasks(
    case: Callable[..., Case], limits: Limits, price: float | None, said: str
) -> None:
    this = case(limits, price=price)
    assert this.rounds.run(TASKS) == said
    assert this.workers.begun == ["a", "b"]
    assert (this.board.made, this.board.failed) == (2, {})


def test_a_limit_ends_the_waiting_for_others_too(case: Callable[..., Case]) -> None:
    this = case(Limits(max_hours=3), a=[{"status": "taken"}])
    this.server.working = {"a"}
    assert this.rounds.run(TASKS) == "max_hours=3 is reached"
    assert this.workers.begun == ["a", "b", "c"]


def test_a_limit_that_is_reached_with_the_last_task_stops_nothing(case: Callable[..., Case]) -> None:
    assert case(Limits(max_hours=3)).rounds.run(TASKS) == ""


def test_without_limits_and_without_a_price_nothing_is_ever_reached() -> None:
    context = StudyContext(cast(Any, None), cast(Any, None), torch.device("cpu"))
    assert Limits().reached(context, 1e9) == ""
    assert Limits(max_cost_usd=1).reached(context, 1e9) == ""


def test_failures_are_a_table() -> None:
    failed = (("digits · full · default", "KeyError: x"), ("a", "its worker died"), ("b", "KeyError: x"))
    assert list(Outcome(4, 0, 1, failed, Leaderboard(ACCURACY)).failures()) == [
        "digits · full · default and 1 more: KeyError: x",
        "a: its worker died",
    ]
