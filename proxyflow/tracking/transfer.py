"""Artifacts on their way: past troubles that pass, resumed where they were cut, checked, and whole or absent."""

from __future__ import annotations

import errno
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.tracking import MlflowClient

from proxyflow.errors import StoreFailed, UserError, one_line
from proxyflow.files import sha256_of
from proxyflow.progress import Progress
from proxyflow.tracking.artifact_store import Absent, called, giver_of, local_copy, opened, store_of, trouble_of
from proxyflow.tracking.outages import KnownTrouble, Waiting, how_long_to_wait, patience_of

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # of a place that another one would stand in for
# What takes longer than a moment shows how far it is.
LARGE = 32 << 20


class Altered(UserError):
    """An artifact is not what it was made as."""


def fetch(client: MlflowClient, run_id: str, path: str, target: Path, sha256: str = "") -> Path:
    """Downloads one file of a run's artifacts to `target`, going on where an earlier attempt was cut.

    Args:
        path: below the run's artifacts.
        sha256: in hexadecimal, what the file has to have; empty where it is not known.

    Raises:
        Absent: it is not there.
        Altered: it has another checksum.
        StoreFailed: its store refuses, or failed for as long as the client is patient, or a disk failed.
        UserError: this machine's disk takes no more.
    """
    what = f"the artifact {path} of run {run_id}"
    store = store_of(client, run_id)
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        resumed = part.exists()
        get = partial(
            _insist,
            patience_of(client),
            partial(_continue, store, path, part),
            store,
            path,
            f"{what} cannot be downloaded",
        )
        get(done=partial(_size, part))
        if resumed and sha256_of(part) != sha256:  # what was here before may have been of something else
            part.unlink()
            get()
        if sha256 and sha256_of(part) != sha256:
            part.unlink()
            raise Altered(f"{what} was altered: it does not have the checksum {sha256[:16]}… that it was made with")
        return part.replace(target)
    except Absent:
        raise Absent(f"{what} is not there: its store has no such file; it was deleted, or never made") from None
    except OSError as error:
        if error.errno not in FULL:
            raise StoreFailed(f"{what} cannot be brought to {target.parent}: {one_line(error)}") from error
        part.unlink(missing_ok=True)
        raise UserError(
            f"{what} cannot be written to {target.parent} ({one_line(error)}): make room there, or name another folder "
            "with PROXYFLOW_DATA_DIR, or TMPDIR"
        ) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _continue(store: ArtifactRepository, path: str, part: Path) -> None:
    """Downloads what `part` lacks."""
    give = giver_of(store)
    if give is None:
        with Progress(f"downloading {PurePosixPath(path).name}", 0, "MB"):
            found = local_copy(store, path, part.parent / f"{part.name}.whole")
        # A store on this machine's disk gives the place of its own file.
        shutil.copyfile(found, part)
        shutil.rmtree(part.parent / f"{part.name}.whole", ignore_errors=True)
        return
    with opened(store, give, path, _size(part)) as content, part.open("ab" if content.start else "wb") as file:
        done = content.start
        for chunk in _shown(content.chunks, path, content.start, content.size):
            file.write(chunk)
            done += len(chunk)
        if content.size is not None and done != content.size:
            raise ConnectionError(f"{path} was cut after {done:,} of {content.size:,} bytes")


def _shown(chunks: Iterator[bytes], path: str, start: int, size: int | None) -> Iterator[bytes]:
    """The chunks, with a bar where they are many."""
    if size is None or size - start < LARGE:
        yield from chunks
        return
    with Progress(f"downloading {PurePosixPath(path).name}", (size - start) >> 20, "MB") as progress:
        arrived = told = 0
        for chunk in chunks:
            yield chunk
            arrived += len(chunk)
            while told < arrived >> 20:
                progress.advance()
                told += 1


def upload(
    client: MlflowClient, owner: str, folder: Path, artifact_path: str = "", patience: float | None = None
) -> None:
    """Uploads all files of a folder, each tried again past troubles that pass.

    Files go in the order in which they were written: a manifest, which is written last, arrives last, so that an
    artifact with a manifest is whole.

    Args:
        owner: the id of the run, or of the logged model, that they become artifacts of.
        patience: seconds for which a store that fails is waited for, None for the client's.

    Raises:
        StoreFailed: the store refuses, or failed for as long.
        UserError: the store is one that would be sent the user's password.
    """
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    if not files:
        return
    patience = patience_of(client) if patience is None else patience
    store = store_of(client, owner)
    for file in files:
        below = PurePosixPath(artifact_path, file.relative_to(folder).parent.as_posix())
        name, where = str(below / file.name), None if str(below) == "." else str(below)
        failed = f"{name} of {called(owner)} cannot be uploaded"
        try:
            _insist(patience, partial(store.log_artifact, str(file), where), store, name, failed)
        except OSError as error:  # a store that is a folder, on a disk that is full
            raise StoreFailed(f"{failed}: {one_line(error)}") from error


def names_in(client: MlflowClient, run_id: str, path: str) -> list[str]:
    """Names of the files and folders in a folder of a run's artifacts, none where there is no such folder.

    Raises:
        StoreFailed: its store refuses, or failed for as long as the client is patient.
    """
    store = store_of(client, run_id)
    try:
        listed = _insist(
            patience_of(client),
            partial(store.list_artifacts, path),
            store,
            path,
            f"{path} of run {run_id} cannot be listed",
        )
    except Absent:
        return []
    # A name is what another user of the store chose, and becomes part of paths here.
    names = (PurePosixPath(each.path).name for each in listed)
    return [name for name in names if name not in ("", ".", "..")]


def _insist(
    patience: float,
    method: Callable[[], T],
    store: ArtifactRepository,
    path: str,
    failed: str,
    done: Callable[[], int] = int,
) -> T:
    """Calls `method` until it meets no trouble that passes.

    Args:
        patience: seconds for which an error that passes is waited out.
        done: how far it has come; the patience begins anew with each bit of progress.

    Raises:
        StoreFailed: it stays, or lasts too long; begins with `failed`.
    """
    told: list[str] = []
    say = told.append
    waiting, before = Waiting(patience, say, "the store of artifacts"), done()
    begun = time.monotonic()
    while True:
        try:
            result = method()
        except Exception as error:
            trouble = trouble_of(error, store, path)
            if not isinstance(trouble, KnownTrouble):
                if trouble is error:
                    raise
                raise trouble from error
            if done() > before:
                waiting, before = Waiting(patience, say, "the store of artifacts"), done()
            passes = how_long_to_wait(trouble) > 0
            pause = waiting.pause_after(trouble) if passes else None
            if pause is None:
                tried = f", tried for {time.monotonic() - begun:.0f} s" if passes else ""
                raise StoreFailed(f"{failed}{tried}: {one_line(trouble)}") from error
            if len(told) == 1:
                print(told[0], file=sys.stderr, flush=True)
                told.append("")
            time.sleep(pause)
        else:
            if told:
                print("the store of artifacts answers again", file=sys.stderr, flush=True)
            return result
