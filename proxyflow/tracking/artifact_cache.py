"""Artifacts that this machine has downloaded, by their checksum: many trainings on one subset fetch it once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from proxyflow.errors import InvalidValue
from proxyflow.files import sha256_of

SIZE_VARIABLE = "PROXYFLOW_ARTIFACT_CACHE_GB"
DEFAULT_GB = 20.0


class ArtifactCache:
    """A folder of files named by their SHA-256, the ones that were not used for longest removed beyond a size.

    Args:
        folder: processes of this machine may share it.
        max_bytes: None is what the variable `PROXYFLOW_ARTIFACT_CACHE_GB` says, else 20 GB.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = _max_bytes() if max_bytes is None else max_bytes

    def place(self, sha256: str, target: Path, fetch: Callable[[Path], object]) -> Path:
        """Puts the file with this checksum to `target`.

        Args:
            fetch: downloads it to a path, and checks it; called where the cache lacks it, and by one process at a
                time. What it leaves beside that path is there for the next call.

        Returns:
            `target`; it stays, whatever becomes of the cache.
        """
        kept = self.folder / sha256[:2] / sha256
        kept.parent.mkdir(parents=True, exist_ok=True)
        with _lock(kept):
            if kept.exists():
                os.utime(kept)
                if sha256_of(kept) != sha256:
                    kept.unlink()
            if not kept.exists():
                fetch(kept)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(kept, target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(kept, target)
        self._trim(kept)
        return target

    def _trim(self, newest: Path) -> None:
        """Removes what was not used for longest until the rest fits, parts of downloads that were given up as well."""
        files = []
        for path in self.folder.glob("??/*"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process is at it, too
                continue
            if path.is_file() and not path.name.endswith(".lock"):
                files.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                return
            if path != newest and _remove(path):
                total -= size


def _lock(path: Path) -> FileLock:
    """The lock of a file that is kept, or of a part of it."""
    return FileLock(path.with_name(f".{path.name.removeprefix('.').removesuffix('.part')}.lock"))


def _remove(path: Path) -> bool:
    """Removes a file unless a process is downloading, checking or placing it."""
    try:
        with _lock(path).acquire(timeout=0):
            path.unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def _max_bytes() -> int:
    given = os.environ.get(SIZE_VARIABLE, str(DEFAULT_GB))
    try:
        size = float(given)
        if not 0 <= size < float("inf"):
            raise ValueError
    except ValueError:
        raise InvalidValue(SIZE_VARIABLE, given, "it must be a number of gigabytes of at least 0") from None
    return int(size * 1e9)
