"""How tests call entry points: in this process for speed, in their own where signals or mlflow matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Small enough for tests: 8 pixels, one epoch, large batches.
SMALL = ("--arch", "xresnet10-w16", "--image-size", "8", "--batch-size", "128")
STUDY = ("--image-size", "8", "--batch-size", "128")
# After which a test gives up on a process: many more than it takes, for machines that are slow and share their cores.
SECONDS = 600


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


Entry = Callable[..., Ended]


def environment(uri: str, **more: str) -> dict[str, str]:
    """The environment of a child process that tracks to `uri`."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT), **more}


def spawn(uri: str, cwd: Path, name: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts an entry point as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", f"entrypoints.{name}", *arguments],
        cwd=cwd,
        env=environment(uri),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with Ctrl-C ignored, and so would be what they start; a user's is not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
