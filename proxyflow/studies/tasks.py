"""What goes to a worker and what comes back, as values that may cross to another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from proxyflow.studies.plan import PlannedTraining


@dataclass(frozen=True)
class SubsetRef:
    """A subset on the tracking server.

    Attributes:
        run_id: its subset run.
        fingerprint: of its content.
        score_run: the score run that it was chosen by, empty where none.
        seed: that it was chosen with.
    """

    run_id: str
    fingerprint: str
    score_run: str
    seed: int


@dataclass(frozen=True)
class Task:
    """A planned training with all that it depends on made."""

    planned: PlannedTraining
    subset: SubsetRef
    key: str


@dataclass(frozen=True)
class Done:
    """How a task ended.

    Attributes:
        status: `taken` is left to another process that is at it or has done it.
        note: says the result in a word or two.
        error: what went wrong, empty where nothing did.
        may_pass: the error's cause may be gone at the next try.
    """

    task: Task
    status: Literal["trained", "taken", "failed"]
    note: str = ""
    error: str = ""
    may_pass: bool = False


# Called after each epoch with the share of the training that it was, and a note.
OnShare = Callable[[Task, float, str], None]
