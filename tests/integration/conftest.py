"""Entry points as tests run them: in this process for speed, in their own where signals or mlflow matter."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]

# Small enough for tests: 8 pixels, one epoch, large batches.
SMALL = ("--arch", "xresnet18", "--image-size", "8", "--batch-size", "128")
STUDY = ("--image-size", "8", "--batch-size", "128")


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


Entry = Callable[..., Ended]


@pytest.fixture
def entry(store: str, capfd: pytest.CaptureFixture[str]) -> Entry:
    """Calls an entry point in this process, exit status and messages as a process would have them."""
    from entrypoints import _cli

    def call(name: str, *arguments: str) -> Ended:
        command = getattr(importlib.import_module(f"entrypoints.{name}"), name)
        before = sys.argv
        sys.argv = [name, *arguments]
        capfd.readouterr()
        try:
            status = _cli._status_of(command)
        finally:
            sys.argv = before
        out, err = capfd.readouterr()
        return Ended(status, out, err)

    return call


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


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four configurations that train in a moment."""
    path = tmp_path_factory.mktemp("grid") / "tiny.yaml"
    path.write_text(
        "base: {arch: xresnet18}\nconfigurations:\n  - {}\n  - {learning_rate: 0.01}\n"
        "  - {optimizer: sgd}\n  - {flip_probability: 0}\n"
    )
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server of the module's own over HTTP; gives its address."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")),
        ],
        cwd=folder,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 90
    while True:
        try:
            if requests.get(f"{uri}/health", timeout=1).ok:
                break
        except requests.RequestException:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.3)
    yield uri
    os.killpg(child.pid, 15)
    child.wait(timeout=30)
