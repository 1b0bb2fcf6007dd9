"""Folders that trainings on one machine share: checkpoints of shorter trainings, and the files of subsets."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from proxyflow.core.errors import TrainingFailed, one_line
from proxyflow.core.files import digest
from proxyflow.subsets import Subset
from proxyflow.trainers.job import Job
from proxyflow.trainers.reduced import reduced_values
from proxyflow.trainers.reported import NothingReported

FINISHED = ".finished"  # in a checkpoint folder whose training has ended well
NAME_LENGTH = 24


@contextmanager
def explained(workspace: Path | None) -> Iterator[None]:
    """Says what a full or read-only disk means for a training.

    Raises:
        TrainingFailed: a file could not be written or read.
    """
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        if error.errno is None:  # an error of a server, by its library
            raise
        rule = "trainings need space there that they can write to; data_dir names another folder"
        raise TrainingFailed(f"{one_line(error)}: trainings keep files in {workspace}: {rule}") from error


@contextmanager
def checkpoint_folder(job: Job) -> Iterator[Path]:
    """A folder for checkpoints of a training, which begins as a copy of those of the longest shorter training.

    A training of the same configuration, data, seed and trainer with fewer epochs has left its folder here: a training
    with more epochs may go on from there. An interrupted training finds its own folder again; but a finished one that
    is repeated, in another study say, begins anew, as it would have nothing left to train and report. Every training
    writes to a folder of its own, so that trainings of different lengths may run at the same time.
    """
    if job.workspace is None:
        with tempfile.TemporaryDirectory(prefix="proxyflow-") as temporary:
            yield Path(temporary)
        return
    trainings = job.workspace / "checkpoints" / _identity(job)[:NAME_LENGTH]
    folder = trainings / str(job.epochs)
    with FileLock(_parent_made(trainings.with_suffix(".lock"))):
        if (folder / FINISHED).exists():
            shutil.rmtree(folder)
        if not folder.is_dir():
            shorter = [int(each.parent.name) for each in trainings.glob(f"[0-9]*/{FINISHED}")]
            before = max((epochs for epochs in shorter if epochs < job.epochs), default=None)
            beside = trainings / ".new"  # only the holder of the lock writes there
            shutil.rmtree(beside, ignore_errors=True)
            if before is None:
                beside.mkdir(parents=True)
            else:
                shutil.copytree(trainings / str(before), beside, ignore=shutil.ignore_patterns(FINISHED))
            beside.rename(folder)
    try:
        yield folder
    except NothingReported:
        # It had nothing left to train, as it was interrupted after its last epoch; the next attempt trains it all.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if folder.is_dir() and any(folder.iterdir()):
        (folder / FINISHED).touch()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _identity(job: Job) -> str:
    spec = job.spec
    return digest(
        {
            "trainer": spec.trainer.name,
            "identity": dict(spec.trainer.identity(job.subset, job.device)),
            "configuration": dict(spec.configuration),
            "seed": spec.seed,
            "subset": job.subset.fingerprint,
            "reduced": reduced_values(spec.proxy),
        }
    )


def subset_folder(
    subset: Subset,
    workspace: Path,
    write: Callable[[Subset, Path], None],
    kind: str,
    is_whole: Callable[[Path], bool] = Path.is_dir,
) -> Path:
    """A folder with the files of a subset, written once by the first training that needs it.

    Args:
        write: writes the files to an empty folder.
        kind: what `write` writes; a change of it is another folder.
        is_whole: whether a folder that exists is still as it was written; else it is written again.
    """
    name = digest({"subset": subset.fingerprint, "kind": kind})[:NAME_LENGTH]
    folder = workspace / "subsets" / name
    with FileLock(_parent_made(folder.with_suffix(".lock"))):
        if not (folder.is_dir() and is_whole(folder)):
            beside = folder.with_name(f".{name}")  # only the holder of the lock writes there
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            try:
                write(subset, beside)
                shutil.rmtree(folder, ignore_errors=True)
                beside.rename(folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    return folder


def _parent_made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
