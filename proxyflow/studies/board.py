"""Where a study stands, for whoever watches it: a bar in this terminal, and metrics of its run in the MLflow UI."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from proxyflow.progress import Progress
from proxyflow.studies.lab import Lab
from proxyflow.studies.tasks import Done, Task
from proxyflow.tracking.run import Run


class Board:
    """Counts a study's trainings as they begin and end.

    Args:
        run: the study's run, whose metrics grow.
        planned: trainings in all.
        finished: of these, finished before.
        work: of a task, in any unit; time left is by it.
        clock: seconds of the study so far.
    """

    def __init__(
        self,
        lab: Lab,
        run: Run,
        planned: int,
        finished: int,
        to_do: list[Task],
        work: Callable[[Task], float],
        clock: Callable[[], float],
    ) -> None:
        self._lab, self._run, self._work, self._clock = lab, run, work, clock
        self._begun: dict[str, Task] = {}
        self._shown: dict[str, float] = {}
        self._lock = threading.Lock()
        self.planned, self.finished = planned, finished
        self.made = 0
        self.failed: dict[str, tuple[Task, str]] = {}
        self._progress = Progress("trainings", len(to_do), "runs", work=sum(map(work, to_do)))

    def __enter__(self) -> Board:
        self._progress.__enter__()
        self._log()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def begin(self, task: Task) -> None:
        """A worker gets the task."""
        self._begun[task.key] = task

    def share(self, task: Task, share: float, note: str) -> None:
        """A share of a task is done; may be called by any thread."""
        work = share * self._work(task)
        with self._lock:
            self._shown[task.key] = self._shown.get(task.key, 0.0) + work
            self._progress.step(work, f"{_title(task)}: {note}{self._standing()}")

    def back(self, task: Task, why: str = "") -> None:
        """A task has ended for now, and is to be done later."""
        self._begun.pop(task.key, None)
        with self._lock:
            self._progress.step(-self._shown.pop(task.key, 0.0))
            if why:
                self._progress.say(f"again later: {task.planned.title}: {why}")

    def found(self, task: Task) -> None:
        """Another process has finished the task."""
        self.finished += 1
        self._ended(task, "done by another process")

    def ended(self, done: Done) -> None:
        """A task has ended, well or not."""
        if done.status == "failed":
            self.failed[done.task.key] = done.task, done.error
            self._progress.say(f"failed: {done.task.planned.title}: {done.error}")
        else:
            self.finished += 1
            self.made += 1
        self._ended(done.task, f"{_title(done.task)}: {done.note}")

    def _ended(self, task: Task, note: str) -> None:
        self._begun.pop(task.key, None)
        with self._lock:
            rest = self._work(task) - self._shown.pop(task.key, 0.0)
            self._progress.advance(rest, note + self._standing())
        self._log()

    def _standing(self) -> str:
        cost = self._lab.cost_usd(self._clock())
        parts = [f"{len(self._begun)} running" if len(self._begun) > 1 else ""]
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
                "cost_usd": self._lab.cost_usd(seconds),
                "hours_left": self._progress.seconds_left() / 3600 if known else None,
            },
            step=self.finished + len(self.failed),
        )


def _title(task: Task) -> str:
    return f"{task.planned.strategy.canonical} {task.planned.hyperparameters.name}"


def time_since(begun: float) -> Callable[[], float]:
    """A clock of the seconds since a moment of the monotonic clock."""
    return lambda: time.monotonic() - begun
