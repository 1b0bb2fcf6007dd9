"""Who is working on a run, so that the run of a dead process can be told from that of a live one, and with
which code.

On the same host the system knows which process lives. Of another host only the heartbeat is seen: a tag that the
process renews. Clocks of hosts differ, so what counts is whether it moves while it is watched.
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

from proxyflow.tracking import names

BEAT_SECONDS = 15.0
LOST_SECONDS = 120.0  # without a new heartbeat, watched all that time
LONG_AGO_SECONDS = 6 * 3600.0  # more than clocks differ by
UNWATCHED_SECONDS = 45.0  # between two looks: what happened in between was not seen


@lru_cache(maxsize=1)
def _host() -> str:
    # Containers share a host name and count processes anew, so the namespace belongs to the address.
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}/{namespace}"


def this_process() -> str:
    """`host/namespace pid start`, unique over process ids that are used again."""
    return f"{_host()} {os.getpid()} {psutil.Process().create_time():.2f}"


def is_here(owner: str) -> bool:
    """Whether the owner ran where the system can tell whether it lives: on this host, in this container."""
    return owner.partition(" ")[0] == _host()


def is_dead(owner: str) -> bool:
    """Whether the owner ran on this host and is gone; owners on other hosts are given the benefit of the doubt."""
    if not is_here(owner):
        return False
    pid, _, started = owner.partition(" ")[2].partition(" ")
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 1
    except (psutil.NoSuchProcess, ValueError):
        return True


class Watch:
    """Tells the runs of lost owners by their tags.

    Example:
        >>> Watch().is_lost("some run", {names.OWNER: "elsewhere/1 17 3.5", names.HEARTBEAT: "1"})
        True
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float, float]] = {}

    def is_lost(self, run_id: str, tags: Mapping[str, str]) -> bool:
        """Whether a run that is marked as running has nobody left who works on it."""
        owner, beat = tags.get(names.OWNER, ""), tags.get(names.HEARTBEAT, "")
        if not owner or is_dead(owner):
            return bool(owner)
        if is_here(owner) or not beat:  # the latter is of a version that had no heartbeat
            return False
        now = time.monotonic()
        before, since, looked = self._seen.get(run_id, ("", now, now))
        if beat != before or now - looked > UNWATCHED_SECONDS:
            since = now
        self._seen[run_id] = (beat, since, now)
        try:
            silent = time.time() - float(beat)
        except ValueError:
            silent = 0.0
        return now - since > LOST_SECONDS or silent > LONG_AGO_SECONDS


@lru_cache(maxsize=1)
def code_is_dirty() -> bool | None:
    """Whether the code differs from the commit that MLflow tags, None where there is no git repository."""
    git = shutil.which("git")
    if git is None:
        return None
    code = Path(__file__).parent
    ended = subprocess.run([git, "status", "--porcelain"], cwd=code, capture_output=True, check=False)
    return bool(ended.stdout.strip()) if ended.returncode == 0 else None
