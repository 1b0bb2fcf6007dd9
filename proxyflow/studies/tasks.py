"""Tasks and their results, as values that can be sent to another process."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from proxyflow.studies.plan import PlannedTraining


@dataclass(frozen=True)
class SubsetRef:
    """A subset on the tracking server.

    Attributes:
        run_id: id of its subset run.
        fingerprint: fingerprint of its content.
        score_run: id of the score run that it was selected by; empty if none.
        seed: seed of the selection.
    """

    run_id: str
    fingerprint: str
    score_run: str
    seed: int


@dataclass(frozen=True)
class Task:
    """A planned training whose dependencies exist."""

    planned: PlannedTraining
    subset: SubsetRef
    key: str


@dataclass(frozen=True)
class TaskResult:
    """The result of a task.

    Attributes:
        status: `taken` if another process runs the task or has finished it.
        note: the result in a few words.
        value: the result; nan where there is none.
        error: the error message; empty if none.
        retryable: whether the error may be transient.
        shared: whether the other trainings would fail as well, as long as none has succeeded.
    """

    task: Task
    status: Literal["trained", "taken", "failed"]
    note: str = ""
    value: float = math.nan
    error: str = ""
    retryable: bool = False
    shared: bool = False


# Called after each epoch with the task, the share of the training that the epoch was, and a note.
OnProgress = Callable[[Task, float, str], None]
