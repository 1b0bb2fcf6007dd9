"""Long work that goes on where an interrupted run of it stood: which run that is, and its newest whole checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from proxyflow.studies.lab import Lab, scratch
from proxyflow.tracking import names
from proxyflow.tracking.reader import download, search

if TYPE_CHECKING:
    from proxyflow.tracking.run import Run


class Saved(Protocol):
    """What long work keeps of itself.

    Attributes:
        run_key: of the work, whose settings a resumed one must have.
    """

    @property
    def run_key(self) -> str: ...

    @property
    def done(self) -> int:
        """How far it was; more is newer."""
        ...

    @property
    def slot(self) -> str:
        """The folder that it is written to."""
        ...

    def save(self, folder: Path) -> None:
        """Writes it whole."""


S = TypeVar("S", bound=Saved)


@dataclass(frozen=True, eq=False)
class Resumed(Generic[S]):
    """A checkpoint with the run that it is of."""

    run_id: str
    checkpoint: S


def newest_checkpoint(lab: Lab, kind: names.Kind, run_key: str, load: Callable[[Path], S]) -> Resumed[S] | None:
    """Where the last run of this work stood that did not finish, None where there is none to go on from."""
    from proxyflow.training.checkpoints import readable

    for run in search(lab.client, KIND=kind, RUN_KEY=run_key):
        if run.finished:
            return None
        if run.status == "running" and not lab.writer.is_lost(run):
            owner = run.tags.get(names.OWNER, "")
            lab.say(f"run {run.id} of this {kind} is still marked as running, by {owner}: it is left alone")
            continue
        with scratch() as folder:
            # A run may have ended before it kept its second state, or its first.
            kept = lab.client.list_artifacts(run.id, names.CHECKPOINT)
            downloaded = [download(lab.client, run.id, slot.path, folder) for slot in kept if slot.is_dir]
            whole = [checkpoint for checkpoint in readable(downloaded, load) if checkpoint.run_key == run_key]
        if whole:
            return Resumed(run.id, max(whole, key=lambda checkpoint: checkpoint.done))
    return None


def log_checkpoint(run: Run, checkpoint: Saved) -> None:
    """Uploads a checkpoint to its slot."""
    with scratch() as folder:
        checkpoint.save(folder)
        run.log_folder(folder, f"{names.CHECKPOINT}/{checkpoint.slot}")
