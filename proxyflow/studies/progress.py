"""Shows the progress of a study: a bar in the terminal, and metrics of its run in the MLflow UI."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from proxyflow.core.progress import Progress
from proxyflow.studies.context import StudyContext
from proxyflow.studies.leaderboard import Leaderboard
from proxyflow.studies.tasks import Task, TaskResult
from proxyflow.tracking.runs.run import Run


class StudyProgress:
    """Counts a study's trainings as they start and end.

    Args:
        run: the study's run, to which progress is logged.
        planned: number of all trainings.
        finished: number of trainings that were already finished.
        to_do: the other tasks.
        work: returns the work of a task, in any unit; the remaining time is estimated from it.
        clock: returns the seconds since the study started.
        leaderboard: results so far, to which those of the tasks are added.
    """

    def __init__(
        self,
        context: StudyContext,
        run: Run,
        planned: int,
        finished: int,
        to_do: list[Task],
        work: Callable[[Task], float],
        clock: Callable[[], float],
        leaderboard: Leaderboard,
    ) -> None:
        self._context, self._run, self._work, self._clock = context, run, work, clock
        self._leaderboard = leaderboard
        self._running: dict[str, Task] = {}
        self._reported: dict[str, float] = {}
        self._lock = threading.Lock()
        self.planned, self.finished = planned, finished
        self.made = 0
        self.failed: dict[str, tuple[Task, str]] = {}
        self._progress = Progress("trainings", len(to_do), "runs", work=sum(map(work, to_do)))

    def __enter__(self) -> StudyProgress:
        self._progress.__enter__()
        self._log()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def begin(self, task: Task) -> None:
        """Records that a worker starts a task."""
        self._running[task.key] = task

    def share(self, task: Task, share: float, note: str) -> None:
        """Records that a share of a task is done; thread-safe."""
        work = share * self._work(task)
        with self._lock:
            self._reported[task.key] = self._reported.get(task.key, 0.0) + work
            self._progress.step(work, f"{_title(task)}: {note}{self._summary(task)}")

    def back(self, task: Task, why: str = "") -> None:
        """Records that a task returns to the queue."""
        self._running.pop(task.key, None)
        with self._lock:
            self._progress.step(-self._reported.pop(task.key, 0.0))
            if why:
                self._progress.say(f"will retry: {task.planned.title}: {why}")

    def found(self, task: Task, value: float) -> None:
        """Records that another process finished a task with this result."""
        self.finished += 1
        self._leaderboard.add(task.planned, value)
        self._ended(task, "done by another process")

    def ended(self, done: TaskResult) -> None:
        """Records the result of a task."""
        if done.status == "failed":
            self.failed[done.task.key] = done.task, done.error
            self._progress.say(f"failed: {done.task.planned.title}: {done.error}")
        else:
            self.finished += 1
            self.made += 1
            self._leaderboard.add(done.task.planned, done.value)
        self._ended(done.task, f"{_title(done.task)}: {done.note}")

    def _ended(self, task: Task, note: str) -> None:
        self._running.pop(task.key, None)
        with self._lock:
            rest = self._work(task) - self._reported.pop(task.key, 0.0)
            self._progress.advance(rest, note + self._summary(task))
        self._log()

    def _summary(self, task: Task) -> str:
        cost = self._context.cost_usd(self._clock())
        parts = [self._leaderboard.best_so_far(task.planned.dataset)]
        parts.append(f"{len(self._running)} running" if len(self._running) > 1 else "")
        parts.append(f"{len(self.failed)} failed" if self.failed else "")
        parts.append(f"${cost:,.2f} so far" if cost is not None else "")
        return "".join(f" · {part}" for part in parts if part)

    def _log(self) -> None:
        seconds = self._clock()
        known = self._progress.done_work > 0 or self.finished == self.planned
        self._run.log_metrics(
            {
                "runs_planned": float(self.planned),
                "runs_finished": float(self.finished),
                "runs_failed": float(len(self.failed)),
                "hours": seconds / 3600,
                "cost_usd": self._context.cost_usd(seconds),
                "hours_left": self._progress.seconds_left() / 3600 if known else None,
            },
            step=self.finished + len(self.failed),
        )


def _title(task: Task) -> str:
    return f"{task.planned.strategy.canonical} {task.planned.spec.configuration.name}"
