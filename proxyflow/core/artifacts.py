"""Artifacts of runs for layers below tracking, which alone knows the server: it registers how they are fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proxyflow.core.errors import InvalidValue

# Brings an artifact to a file: what asks for it (for messages), the run's id, the path below its artifacts, the file.
Fetch = Callable[[str, str, str, Path], Path]
_fetchers: list[Fetch] = []


def fetched_by(fetch: Fetch) -> None:
    """Registers how artifacts are fetched; the last one counts."""
    _fetchers[:] = [fetch]


def fetch_artifact(what: str, run_id: str, path: str, target: Path) -> Path:
    """Downloads an artifact of a run.

    Args:
        what: the option that names the run, for messages.
        path: below the run's artifacts.
        target: the file to write.

    Raises:
        InvalidValue: nothing in this process knows a tracking server.
        UserError: no such run or artifact.
    """
    if not _fetchers:
        raise InvalidValue(what, f"run:{run_id}", "this process has no tracking server; name the file instead")
    return _fetchers[0](what, run_id, path, target)
