"""Resuming long work: finds the newest complete checkpoint of an interrupted run, and uploads and deletes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from proxyflow.studies.context import StudyContext, temporary_folder
from proxyflow.tracking import names
from proxyflow.tracking.artifacts.store_errors import ArtifactMissing
from proxyflow.tracking.artifacts.transfer import delete_artifacts, fetch, list_names
from proxyflow.tracking.queries.reader import search
from proxyflow.trainers.job import SavedState

if TYPE_CHECKING:
    from proxyflow.tracking.runs.run import Run

S = TypeVar("S", bound=SavedState)


@dataclass(frozen=True, eq=False)
class Resumed(Generic[S]):
    """A checkpoint with the id of the run that it belongs to."""

    run_id: str
    checkpoint: S


def newest_checkpoint(
    context: StudyContext, kind: names.Kind, run_key: str, load: Callable[[Path], S], before: int
) -> Resumed[S] | None:
    """The newest checkpoint of the last unfinished run with this key; None if there is none to resume from.

    Args:
        before: checkpoints with this many steps or more are ignored.
    """
    from proxyflow.trainers.checkpoints import FILES, SLOTS, readable_checkpoints  # imports torch

    for run in search(context.client, KIND=kind, RUN_KEY=run_key):
        if run.finished:
            return None
        if run.status == "running" and not context.writer.is_stale(run):
            owner = run.tags.get(names.OWNER, "")
            context.say(f"run {run.id} of this {kind} is still marked as running, by {owner}; not resuming from it")
            continue
        with temporary_folder() as folder:
            # The run may have ended before it wrote its second slot, or its first.
            uploaded = list_names(context.client, run.id, names.CHECKPOINT)
            slots = [_download(context, run.id, folder / slot, FILES) for slot in SLOTS if slot in uploaded]
            # Anybody with access to the server may have written these files, so they are validated.
            complete = [
                checkpoint
                for checkpoint in readable_checkpoints(slots, load)
                if checkpoint.run_key == run_key and checkpoint.done < before
            ]
        if complete:
            return Resumed(run.id, max(complete, key=lambda checkpoint: checkpoint.done))
    return None


def _download(context: StudyContext, run_id: str, folder: Path, files: Iterable[str]) -> Path:
    for name in files:
        # A checkpoint whose upload was interrupted lacks a file; loading it fails.
        with suppress(ArtifactMissing):
            fetch(context.client, run_id, f"{names.CHECKPOINT}/{folder.name}/{name}", folder / name)
    return folder


def forget_checkpoints(context: StudyContext, run_id: str, resumed: Resumed[S] | None) -> None:
    """Deletes the checkpoints of a finished run, and of the run that it resumed from."""
    for finished in (run_id, *([resumed.run_id] if resumed is not None else [])):
        delete_artifacts(context.client, finished, names.CHECKPOINT)


def log_checkpoint(run: Run, checkpoint: SavedState) -> None:
    """Uploads a checkpoint to its slot."""
    with temporary_folder() as folder:
        checkpoint.save(folder)
        run.log_folder(folder, f"{names.CHECKPOINT}/{checkpoint.slot}")
