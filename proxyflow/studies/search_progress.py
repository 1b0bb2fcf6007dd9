"""Shows the progress of a search: what is being trained, what is left of the budget, and the best so far."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from proxyflow.core.progress import Progress
from proxyflow.studies.tasks import Task


class SearchProgress:
    """A bar of the spent budget on a terminal, else a line for each training, and one now and then while one runs.

    Args:
        budget: in full trainings.
        seed: the first one; a training with another one is one more of its configuration, and its lines say so.
        cost_of: the cost of a task, in full trainings.
        best_so_far: the best configuration in a few words.
    """

    def __init__(
        self, budget: float, seed: int, cost_of: Callable[[Task], float], best_so_far: Callable[[], str]
    ) -> None:
        self._cost_of, self._best_so_far = cost_of, best_so_far
        self._best = ""
        self._shared: dict[str, float] = {}
        self._lock = threading.Lock()
        self._budget, self._seed = budget, seed
        self._progress = Progress("search", None, "trainings", work=budget)

    def __enter__(self) -> SearchProgress:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """Prints a line."""
        with self._lock:
            self._progress.say(text)

    def share(self, task: Task, share: float, note: str) -> None:
        """Records that a share of a training is done; thread-safe."""
        cost = share * self._cost_of(task)
        with self._lock:
            self._shared[task.key] = self._shared.get(task.key, 0.0) + cost
            self._progress.step(cost, " · ".join(filter(None, (f"{self._title(task)}: {note}", self._best))))

    def back(self, task: Task) -> None:
        """Records that a training has ended without a result."""
        with self._lock:
            self._progress.step(-self._shared.pop(task.key, 0.0))

    def ended(self, task: Task, note: str, spent: float) -> None:
        """Records the result of a training.

        Args:
            spent: of the budget, by all processes.
        """
        best = self._best_so_far()
        with self._lock:
            self._best = best
            self._progress.say(f"{spent:.2f} of {self._budget:g} spent · {self._title(task)}: {note} · {best}")
            self._progress.advance(self._cost_of(task) - self._shared.pop(task.key, 0.0))
            # What other processes and an earlier one of this search have spent.
            others = spent + sum(self._shared.values()) - self._progress.done_work
            self._progress.skip(0, max(0.0, others))

    def _title(self, task: Task) -> str:
        spec = task.planned.spec
        repeat = "" if spec.seed == self._seed else f", seed {spec.seed}"
        return f"{task.planned.strategy.canonical} {spec.configuration.name}{repeat}"
