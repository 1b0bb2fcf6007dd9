"""Transfer of artifacts with retries, resumed downloads and checksums, none of which MLflow's own transfer has."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import StoreFailed, UserError, one_line
from proxyflow.core.files import sha256_of
from proxyflow.core.progress import Progress
from proxyflow.tracking.artifacts.store import ByteStream, download_whole, open_repository, owner_label, range_reader
from proxyflow.tracking.artifacts.store_errors import ArtifactMissing, classify_error
from proxyflow.tracking.delivery.retrying import Backoff, StoreError, is_outage, print_notice, retry, retry_timeout_of

T = TypeVar("T")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # of a folder; another one would do
PROGRESS_BAR_BYTES = 32 << 20  # a larger download has a progress bar


class ChecksumMismatch(UserError):
    """An artifact was altered after it was made."""


def fetch(client: MlflowClient, run_id: str, path: str, target: Path, sha256: str = "") -> Path:
    """Downloads one file of a run's artifacts to `target`; resumes an earlier attempt that was interrupted.

    Args:
        path: below the run's artifacts.
        sha256: the expected checksum in hexadecimal; empty where it is not known.

    Raises:
        ArtifactMissing: the store has no such file.
        ChecksumMismatch: it has another checksum.
        StoreFailed: its store refuses, or failed for as long as the client retries, or a disk failed.
        UserError: this machine's disk is full.
    """
    name = f"the artifact {path} of run {run_id}"
    store = open_repository(client, run_id)
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)

    def download() -> None:
        attempt, failed = partial(_download_rest, store, path, part), f"{name} cannot be downloaded"
        _retry(retry_timeout_of(client), attempt, store, path, failed, partial(_size, part))

    try:
        resumed = part.exists()
        download()
        if resumed and sha256_of(part) != sha256:  # the beginning may have been of another file
            part.unlink()
            download()
        if sha256 and sha256_of(part) != sha256:
            part.unlink()
            raise ChecksumMismatch(
                f"{name} was altered: it does not have the checksum {sha256[:16]}… that it was made with"
            )
        return part.replace(target)
    except ArtifactMissing:
        raise ArtifactMissing(f"{name} does not exist in its store: it was deleted, or never made") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise StoreFailed(f"{name} cannot be written to {target.parent}: {one_line(error)}") from error
        part.unlink(missing_ok=True)
        raise UserError(
            f"{name} cannot be written to {target.parent} ({one_line(error)}): make room there, or name another folder "
            "with PROXYFLOW_DATA_DIR, or TMPDIR"
        ) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _download_rest(store: ArtifactRepository, path: str, part: Path) -> None:
    """Downloads what `part` lacks."""
    read_from = range_reader(store)
    if read_from is None:
        folder = part.parent / f"{part.name}.whole"
        with Progress(f"downloading {PurePosixPath(path).name}", 0, "MB"):
            found = download_whole(store, path, folder)
        shutil.copyfile(found, part)
        shutil.rmtree(folder, ignore_errors=True)
        return
    stream = read_from(path, _size(part))
    with part.open("ab" if stream.start else "wb") as file:
        for chunk in _with_progress(stream, path):
            file.write(chunk)
    if stream.size is not None and (size := _size(part)) != stream.size:
        raise ConnectionError(f"{path} was cut after {size:,} of {stream.size:,} bytes")


def _with_progress(stream: ByteStream, path: str) -> Iterator[bytes]:
    """The chunks, with a progress bar where they are many."""
    if stream.size is None or stream.size - stream.start < PROGRESS_BAR_BYTES:
        yield from stream.chunks
        return
    with Progress(f"downloading {PurePosixPath(path).name}", (stream.size - stream.start) >> 20, "MB") as progress:
        received = shown = 0
        for chunk in stream.chunks:
            yield chunk
            received += len(chunk)
            while shown < received >> 20:
                progress.advance()
                shown += 1


def upload(
    client: MlflowClient, owner: str, folder: Path, artifact_path: str = "", retry_timeout: float | None = None
) -> None:
    """Uploads all files of a folder, with retries of each.

    Files go in the order in which they were written: a manifest, which is written last, arrives last, so that an
    artifact with a manifest is complete.

    Args:
        owner: the id of the run, or of the logged model, whose artifacts they become.
        retry_timeout: seconds for which a store that fails is retried, None for the client's.

    Raises:
        StoreFailed: the store refuses, or failed for as long.
        UserError: the store would be sent the user's password, see `open_repository`.
    """
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    if not files:
        return
    timeout = retry_timeout_of(client) if retry_timeout is None else retry_timeout
    store = open_repository(client, owner)
    for file in files:
        parent = PurePosixPath(artifact_path, file.relative_to(folder).parent.as_posix())
        name, destination = str(parent / file.name), None if str(parent) == "." else str(parent)
        failed = f"{name} of {owner_label(owner)} cannot be uploaded"
        try:
            _retry(timeout, partial(store.log_artifact, str(file), destination), store, name, failed)
        except OSError as error:  # a store that is a folder, on a full disk
            raise StoreFailed(f"{failed}: {one_line(error)}") from error


def list_names(client: MlflowClient, run_id: str, path: str) -> list[str]:
    """Names of the files and folders in a folder of a run's artifacts, none where there is no such folder.

    Raises:
        StoreFailed: its store refuses, or failed for as long as the client retries.
    """
    store = open_repository(client, run_id)
    failed = f"{path} of run {run_id} cannot be listed"
    try:
        listed = _retry(retry_timeout_of(client), partial(store.list_artifacts, path), store, path, failed)
    except ArtifactMissing:
        return []
    # Another user of the store chose the names, and they become parts of paths here.
    names = (PurePosixPath(each.path).name for each in listed)
    return [name for name in names if name not in ("", ".", "..")]


def delete_artifacts(client: MlflowClient, run_id: str, artifact_path: str) -> None:
    """Deletes a folder of a run's artifacts where the store can and may; what remains costs only space."""
    with suppress(Exception):  # each kind of store has its own errors for what it may not do
        open_repository(client, run_id).delete_artifacts(artifact_path)


def _retry(
    timeout: float,
    method: Callable[[], T],
    store: ArtifactRepository,
    path: str,
    failed: str,
    progress: Callable[[], int] = int,
) -> T:
    """Retries `method` on transient errors of the store.

    Args:
        timeout: seconds for which they are retried.
        progress: how far it has come; the timeout starts again whenever this grows.

    Raises:
        StoreFailed: the error is permanent, or lasts too long; begins with `failed`.
    """
    notices: list[str] = []
    started = time.monotonic()

    def notify(message: str) -> None:
        notices.append(message)
        print_notice(message)

    def attempt() -> T:
        try:
            return method()
        except Exception as error:
            cause = classify_error(error, store, path)
            if cause is error:
                raise
            raise cause from error

    try:
        result = retry(attempt, Backoff(timeout, notify, "the artifact store", progress), StoreError)
    except StoreError as error:
        tried = f", retried for {time.monotonic() - started:.0f} s" if is_outage(error) else ""
        raise StoreFailed(f"{failed}{tried}: {one_line(error)}") from error
    if notices:
        print_notice("the artifact store responds again")
    return result
