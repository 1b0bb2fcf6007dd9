"""Ownership of runs: which process writes a run, and whether it is still alive, which MLflow does not record.

On the same host the system knows which processes live. Of another host only the heartbeat is visible: a tag that the
process renews. Clocks of hosts differ, so what counts is whether the heartbeat changes while it is observed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import psutil

from proxyflow.core.platform import process_namespace
from proxyflow.tracking import names

HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 120.0  # without a new heartbeat, under observation
MAX_HEARTBEAT_AGE_SECONDS = 6 * 3600.0  # more than clocks differ by
MAX_OBSERVATION_GAP_SECONDS = 45.0  # a heartbeat may have changed unseen between two checks further apart


@lru_cache(maxsize=1)
def _host() -> str:
    # Containers share a host name and number their processes anew, so the namespace belongs to the address.
    return f"{socket.gethostname()}/{process_namespace()}"


def this_process() -> str:
    """`host/namespace pid start`, unique although process ids are reused."""
    return f"{_host()} {os.getpid()} {psutil.Process().create_time():.2f}"


def is_on_this_host(owner: str) -> bool:
    """Whether the system can tell if the owner is alive: it ran on this host, in this container."""
    return owner.partition(" ")[0] == _host()


def is_dead(owner: str) -> bool:
    """Whether the owner ran on this host and has ended; owners on other hosts count as alive."""
    if not is_on_this_host(owner):
        return False
    pid, _, started = owner.partition(" ")[2].partition(" ")
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 1
    except psutil.AccessDenied:  # another user's process, which not every system shows
        return False
    except (psutil.NoSuchProcess, ValueError):
        return True


class StaleRunDetector:
    """Detects runs whose process has died, by their tags.

    Example:
        >>> StaleRunDetector().is_stale("some run", {names.OWNER: "elsewhere/1 17 3.5", names.HEARTBEAT: "1"})
        True
    """

    def __init__(self) -> None:
        self._observed: dict[str, tuple[str, float, float]] = {}  # heartbeat, since when, last check

    def is_stale(self, run_id: str, tags: Mapping[str, str]) -> bool:
        """Whether no process writes a run any more that is marked as running."""
        owner, heartbeat = tags.get(names.OWNER, ""), tags.get(names.HEARTBEAT, "")
        if not owner or is_dead(owner):
            return bool(owner)
        if is_on_this_host(owner) or not heartbeat:  # an earlier version had no heartbeat
            return False
        now = time.monotonic()
        before, since, checked = self._observed.get(run_id, ("", now, now))
        if heartbeat != before or now - checked > MAX_OBSERVATION_GAP_SECONDS:
            since = now
        self._observed[run_id] = (heartbeat, since, now)
        try:
            age = time.time() - float(heartbeat)
        except ValueError:
            age = 0.0
        return now - since > STALE_SECONDS or age > MAX_HEARTBEAT_AGE_SECONDS


def heartbeat_now() -> str:
    """The heartbeat of this moment."""
    return f"{time.time():.0f}"


def initial_tags(kind: names.Kind, study: str) -> dict[str, str | None]:
    """The tags with which every run begins: what it is, and which process and code write it."""
    dirty = _code_is_dirty()
    return {
        names.GIT_DIRTY: None if dirty is None else str(dirty).lower(),
        names.KIND: kind,
        names.VERSION: names.SCHEMA_VERSION,
        names.STATUS: "running",
        names.STUDY: study,
        names.OWNER: this_process(),
        names.HEARTBEAT: heartbeat_now(),
    }


@lru_cache(maxsize=1)
def _code_is_dirty() -> bool | None:
    """Whether the code differs from the commit that MLflow tags, None where there is no git repository."""
    git = shutil.which("git")
    if git is None:
        return None
    ended = subprocess.run([git, "status", "--porcelain"], cwd=Path(__file__).parent, capture_output=True, check=False)
    return bool(ended.stdout.strip()) if ended.returncode == 0 else None
