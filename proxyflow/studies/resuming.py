"""Long work that goes on where an interrupted run of it stood: which run that is, and its newest whole checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from proxyflow.studies.lab import Lab, scratch
from proxyflow.tracking import names
from proxyflow.tracking.artifact_store import Absent
from proxyflow.tracking.reader import search
from proxyflow.tracking.transfer import fetch, names_in

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


def newest_checkpoint(
    lab: Lab, kind: names.Kind, run_key: str, load: Callable[[Path], S], before: int
) -> Resumed[S] | None:
    """Where the last run of this work stood that did not finish, None where there is none to go on from.

    Args:
        before: a state with as much done, or more, is none to go on from.
    """
    from proxyflow.training.checkpoints import FILES, SLOTS, readable

    for run in search(lab.client, KIND=kind, RUN_KEY=run_key):
        if run.finished:
            return None
        if run.status == "running" and not lab.writer.is_lost(run):
            owner = run.tags.get(names.OWNER, "")
            lab.say(f"run {run.id} of this {kind} is still marked as running, by {owner}: it is left alone")
            continue
        with scratch() as folder:
            # A run may have ended before it kept its second state, or its first.
            there = names_in(lab.client, run.id, names.CHECKPOINT)
            # Others may have put anything there.
            slots = [_download(lab, run.id, folder / slot, FILES) for slot in SLOTS if slot in there]
            whole = [each for each in readable(slots, load) if each.run_key == run_key and each.done < before]
        if whole:
            return Resumed(run.id, max(whole, key=lambda checkpoint: checkpoint.done))
    return None


def _download(lab: Lab, run_id: str, folder: Path, files: Iterable[str]) -> Path:
    for name in files:
        # One that was cut off while it was written lacks a file, and is not whole.
        with suppress(Absent):
            fetch(lab.client, run_id, f"{names.CHECKPOINT}/{folder.name}/{name}", folder / name)
    return folder


def forget_checkpoints(lab: Lab, run_id: str, resumed: Resumed[S] | None) -> None:
    """Deletes the checkpoints of work that is done, those that it went on from included."""
    for done in (run_id, *([resumed.run_id] if resumed is not None else [])):
        lab.writer.delete_artifacts(done, names.CHECKPOINT)


def log_checkpoint(run: Run, checkpoint: Saved) -> None:
    """Uploads a checkpoint to its slot."""
    with scratch() as folder:
        checkpoint.save(folder)
        run.log_folder(folder, f"{names.CHECKPOINT}/{checkpoint.slot}")
