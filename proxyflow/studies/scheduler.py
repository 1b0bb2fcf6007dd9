"""Schedules the trainings of a study: limits, retries, and tasks that other processes have claimed."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from proxyflow.core.errors import TrainingFailed
from proxyflow.studies.context import StudyContext
from proxyflow.studies.executors import Executor, Resources, WorkerPool
from proxyflow.studies.progress import StudyProgress
from proxyflow.studies.tasks import Task, TaskResult
from proxyflow.tracking import names
from proxyflow.tracking.connection import experiment_ids
from proxyflow.tracking.queries.reader import finished_values, search

RETRIES = 2
SHARED_FAILURES = 3  # of one kind, such as a metric that is not reported, before anything has finished
POLL_SECONDS = (1.0, 3.0)  # between checks of claimed tasks, if nothing else is left to do
# Time between counts of what other processes have finished, and the largest share of time that counting may take.
COUNT_SECONDS, COUNT_SHARE = 60.0, 0.01


@dataclass(frozen=True)
class Limits:
    """Limits after which a study stops between two trainings; None for no limit."""

    max_hours: float | None = None
    max_cost_usd: float | None = None

    def reached(self, context: StudyContext, seconds: float) -> str:
        """The limit that is reached after so many seconds; empty if none."""
        cost = context.cost_usd(seconds)
        if self.max_hours is not None and seconds / 3600 >= self.max_hours:
            return f"max_hours={self.max_hours:g} is reached"
        if self.max_cost_usd is not None and cost is not None and cost >= self.max_cost_usd:
            return f"max_cost_usd={self.max_cost_usd:g} is reached"
        return ""


@dataclass(frozen=True)
class ExecutionOptions:
    """How to execute a study.

    Attributes:
        executor: the executor.
        resources: its resources.
        limits: when to stop.
        retries: how often to retry a training after an error that may be transient.
    """

    executor: Executor
    resources: Resources = field(default_factory=Resources)
    limits: Limits = field(default_factory=Limits)
    retries: int = RETRIES


def finished_in_study(context: StudyContext) -> dict[str, float]:
    """Keys of this study's finished trainings, by any process, with their results."""
    return finished_values(context.client, experiment_ids(context.client, context.writer.study))


class Scheduler:
    """Assigns tasks to workers until each is finished (here or by another process) or has failed."""

    def __init__(
        self,
        context: StudyContext,
        pool: WorkerPool,
        execution: ExecutionOptions,
        study_progress: StudyProgress,
        clock: Callable[[], float],
    ) -> None:
        self.context, self.pool, self.execution, self.study_progress, self.clock = (
            context,
            pool,
            execution,
            study_progress,
            clock,
        )
        self.queue: deque[Task] = deque()
        self.tries: Counter[str] = Counter()
        self.claimed_by_others: list[Task] = []
        self.count_at = COUNT_SECONDS
        self.stopped = ""
        self.shared_failures = 0

    def run(self, tasks: list[Task]) -> str:
        """Runs the tasks; returns the limit that stopped it early, empty if none.

        Raises:
            TrainingFailed: the first trainings failed as all others would.
        """
        self.queue.extend(tasks)
        reported = False
        while (self.queue or self.claimed_by_others) and not self._limit_reached():
            for done in self.pool.run(self._next_tasks(), self.study_progress.share):
                if done.status == "taken":
                    self.study_progress.back(done.task)
                    self.claimed_by_others.append(done.task)
                elif done.retryable and self.tries[done.task.key] < self.execution.retries:
                    self.tries[done.task.key] += 1
                    self.study_progress.back(done.task, done.error)
                    self.queue.append(done.task)
                else:
                    self.study_progress.ended(done)
                    self._check_others_may_succeed(done)
                if self.claimed_by_others and self.clock() >= self.count_at:
                    self._count_finished()
            if self.claimed_by_others and not self.queue and not self._limit_reached():
                self._check_claimed()
                if self.claimed_by_others and not reported:
                    self.context.say(
                        f"{len(self.claimed_by_others)} trainings are running in another process; waiting for them"
                    )
                    reported = True
        return self.stopped

    def _check_others_may_succeed(self, done: TaskResult) -> None:
        """Gives up where nothing has finished and the first ones fail in a way in which all others would."""
        self.shared_failures += done.shared
        if self.shared_failures >= SHARED_FAILURES and not self.study_progress.finished:
            error = f"the first {SHARED_FAILURES} trainings failed, and so would the others"
            raise TrainingFailed(f"{error}; the last one, {done.task.planned.title}: {done.error}")

    def _limit_reached(self) -> bool:
        self.stopped = self.execution.limits.reached(self.context, self.clock())
        return bool(self.stopped)

    def _next_tasks(self) -> Iterator[Task]:
        """Yields tasks to workers; sets aside those that another process has claimed."""
        while self.queue and not self._limit_reached():
            task = self.queue.popleft()
            if self.claimed_by_others and self.context.writer.is_claimed("training", task.key):
                self.claimed_by_others.append(task)
                continue
            self.study_progress.begin(task)
            yield task

    def _count_finished(self) -> None:
        """Counts what other processes have finished, so that the remaining time is that of the whole study."""
        started = self.clock()
        done = finished_in_study(self.context)
        for task in [task for task in self.claimed_by_others if task.key in done]:
            self.claimed_by_others.remove(task)
            self.study_progress.found(task, done[task.key])
        self.count_at = self.clock() + max(COUNT_SECONDS, (self.clock() - started) / COUNT_SHARE)

    def _check_claimed(self) -> None:
        """Records claimed tasks that have been finished, and requeues those whose process has gone."""
        time.sleep(random.uniform(*POLL_SECONDS))
        self.context.writer.recovery.fail_stale_runs()
        experiments = [self.context.writer.experiment_id]
        working = {run.tags.get(names.RUN_KEY) for run in search(self.context.client, experiments, running=True)}
        done = finished_in_study(self.context)
        claimed, self.claimed_by_others = self.claimed_by_others, []
        for task in claimed:
            if task.key in done:
                self.study_progress.found(task, done[task.key])
            elif task.key in working:
                self.claimed_by_others.append(task)
            else:
                self.queue.append(task)
