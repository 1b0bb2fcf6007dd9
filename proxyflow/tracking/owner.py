"""Who is working on a run, so that the run of a dead process can be told from that of a live one, and with
which code.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from functools import lru_cache
from pathlib import Path

import psutil


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


def is_dead(owner: str) -> bool:
    """Whether the owner ran on this host and is gone; owners on other hosts are given the benefit of the doubt."""
    host, _, rest = owner.partition(" ")
    if host != _host():
        return False
    pid, _, started = rest.partition(" ")
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 1
    except (psutil.NoSuchProcess, ValueError):
        return True


@lru_cache(maxsize=1)
def code_is_dirty() -> bool | None:
    """Whether the code differs from the commit that MLflow tags, None where there is no git repository."""
    git = shutil.which("git")
    if git is None:
        return None
    code = Path(__file__).parent
    ended = subprocess.run([git, "status", "--porcelain"], cwd=code, capture_output=True, check=False)
    return bool(ended.stdout.strip()) if ended.returncode == 0 else None
