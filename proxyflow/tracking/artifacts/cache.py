"""A cache of downloaded artifacts by checksum, which MLflow lacks: many trainings on one subset download it once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from proxyflow.core.errors import InvalidValue
from proxyflow.core.files import sha256_of
from proxyflow.core.platform import hard_link

SIZE_VARIABLE = "PROXYFLOW_ARTIFACT_CACHE_GB"
DEFAULT_GB = 20.0


class ArtifactCache:
    """A folder of files named by their SHA-256; beyond a size the least recently used ones are deleted.

    Args:
        folder: processes of this machine may share it.
        max_bytes: None is the variable `PROXYFLOW_ARTIFACT_CACHE_GB`, else 20 GB.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = _max_bytes() if max_bytes is None else max_bytes

    def place(self, sha256: str, target: Path, fetch: Callable[[Path], object]) -> Path:
        """Puts the file with this checksum to `target`.

        Args:
            fetch: downloads it to a path, and verifies it; called where the cache lacks it, and by one process at a
                time. Files that it leaves beside that path are there for the next call.

        Returns:
            `target`, which does not depend on the cache any more.
        """
        cached = self.folder / sha256[:2] / sha256
        cached.parent.mkdir(parents=True, exist_ok=True)
        with _lock(cached):
            if cached.exists():
                os.utime(cached)
                if sha256_of(cached) != sha256:
                    cached.unlink()
            if not cached.exists():
                fetch(cached)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                hard_link(cached, target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(cached, target)
        self._trim(cached)
        return target

    def _trim(self, newest: Path) -> None:
        """Deletes the least recently used files until the rest fits, partial downloads included."""
        files = []
        for path in self.folder.glob("??/*"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process trims it, too
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
    """The lock of a cached file, or of a partial download of it."""
    return FileLock(path.with_name(f".{path.name.removeprefix('.').removesuffix('.part')}.lock"))


def _remove(path: Path) -> bool:
    """Deletes a file unless a process is downloading, verifying or placing it."""
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
