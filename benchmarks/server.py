"""A real MLflow server over HTTP on this machine, which can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

START_SECONDS = 300.0  # half a minute, but for machines that do much else at that time
BELOW_EPHEMERAL = range(15_000, 32_000)
PROCESSES = 64


def free_ports(count: int) -> list[int]:
    """So many different ports, none of which the system may give to a connection before a server takes it."""
    # Processes that look at one time find different ones.
    mine = BELOW_EPHEMERAL[os.getpid() % PROCESSES :: PROCESSES]
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            port = secrets.choice(mine)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        return found


def wait_for(uri: str, child: subprocess.Popen[bytes]) -> None:
    """Waits until an MLflow server answers.

    Raises:
        RuntimeError: its process has ended.
        TimeoutError: it took too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"the server at {uri} ended with {child.returncode}")
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{uri}/health", timeout=5).ok:
                return
        time.sleep(0.2)
    raise TimeoutError(f"the server at {uri} did not start")


class RequestsSent:
    """Counts what this process asks of servers over HTTP while it is entered, but for heartbeats, which go by time.

    Attributes:
        paths: of the requests, in order.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __enter__(self) -> RequestsSent:
        self._send = send = requests.Session.send

        def counted(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            path = urlsplit(request.url or "").path
            if not path.endswith(("/runs/set-tag", "/health")):
                self.paths.append(path)
            return send(session, request, **options)

        requests.Session.send = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *ended: object) -> None:
        requests.Session.send = self._send  # type: ignore[method-assign]


class Server:
    """`mlflow server`, and artifacts, in `folder`; the same address after each start.

    Args:
        store: the backend store's address; without one it is SQLite in `folder`.
        workers: processes that answer; MLflow itself would start 4.
    """

    def __init__(self, folder: Path, store: str = "", workers: int = 1) -> None:
        self.folder = folder
        self.store = store or f"sqlite:///{folder}/mlflow.db"
        self.workers = workers
        (self.port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{self.port}"
        self.child: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts the process; `wait` says when it answers."""
        self.child = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--workers", str(self.workers), "--backend-store-uri", self.store),
                *("--artifacts-destination", str(self.folder / "files")),
            ],
            cwd=self.folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        assert self.child is not None
        wait_for(self.uri, self.child)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Ends the server and its workers."""
        if self.child is None:
            return
        os.killpg(self.child.pid, number)
        self.child.wait(timeout=30)
        self.child = None

    def __enter__(self) -> Server:
        self.begin()
        try:
            self.wait()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *ended: object) -> None:
        self.kill()
