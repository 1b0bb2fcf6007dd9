"""Runs a command as a process group with a log, a timeout and no survivors, however it or this process ends.

A program may fork, hang, print megabytes or be killed. Its processes form one group (a new session), which ends with
the program: by signals from here, and, if this process dies without a chance to send any, by a watcher in the group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import psutil

from proxyflow.core.errors import one_line

POLL_SECONDS = 1.0
# Between SIGTERM and SIGKILL; a program may write a checkpoint meanwhile.
GRACE_SECONDS = 10.0
# A watcher waits for the end of its input, which only this process holds open, and then kills the group. `exec` makes
# the program the leader of the group, so that its exit status and its process id are the program's own.
WATCHED = 'exec 3<&0; (read -r _ <&3; kill -s KILL -- -$$) >/dev/null 2>&1 & exec 3<&-; exec "$@" </dev/null'
SHELL = "/bin/sh"
MARK = "PROXYFLOW_OUTPUT"  # a variable with a value of its own for each training

LARGEST_LOG = 64 * 2**20
KEPT_HEAD, KEPT_TAIL = 2**20, 4 * 2**20


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        status: its exit status; negative for the signal that killed it.
        seconds: from its start to its end.
        reason: why it was stopped from here: `timeout` or `stopped`; empty if it ended by itself.
        survivors: processes that it had left behind, which were killed.
    """

    status: int
    seconds: float
    reason: str = ""
    survivors: int = 0


class NotStarted(Exception):
    """A program cannot be started; the message says why."""


def run_process(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float | None = None,
    on_poll: Callable[[float], bool] = lambda seconds: False,
) -> Ended:
    """Runs a program to its end, and ends all processes that it has started.

    Args:
        arguments: the program and its arguments.
        folder: its working folder.
        environment: all of its environment variables; `MARK` identifies its processes.
        log: gets its output and errors; a program that prints without end keeps the beginning and the end.
        timeout: seconds after which it is stopped; None for no limit.
        on_poll: called every second with the seconds since the start; true stops the program, and so does an exception.

    Raises:
        NotStarted: the program cannot be started.
    """
    output = _Log(log)
    begun = time.perf_counter()
    process = _start(arguments, folder, environment, output)
    reason, survivors = "", 0
    try:
        while True:
            seconds = time.perf_counter() - begun
            left = POLL_SECONDS if timeout is None else min(POLL_SECONDS, max(0.0, timeout - seconds))
            with suppress(subprocess.TimeoutExpired):
                process.wait(left)
                break
            output.limit()
            seconds = time.perf_counter() - begun
            if timeout is not None and seconds >= timeout:
                reason = "timeout"
            elif on_poll(seconds):
                reason = "stopped"
            if reason:
                _terminate(process)
                break
        ended = time.perf_counter() - begun
    except BaseException:
        _terminate(process)
        raise
    finally:
        survivors = _end_group(process, environment.get(MARK, ""))
        if process.stdin is not None:
            process.stdin.close()
        output.close()
    return Ended(process.returncode, ended, reason, survivors)


def _start(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: _Log
) -> subprocess.Popen[bytes]:
    # A container may have no shell; its programs then have no watcher.
    watched = os.access(SHELL, os.X_OK) and sys.platform != "win32"
    try:
        with output.open() as sink:
            return subprocess.Popen(
                [*([SHELL, "-c", WATCHED, arguments[0]] if watched else []), *arguments],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE if watched else subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:  # ValueError: a zero byte in an argument
        raise NotStarted(one_line(error)) from None


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Asks the whole group to end, and waits for the program."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)


def _end_group(process: subprocess.Popen[bytes], mark: str) -> int:
    """Kills the program and every process that it has left behind; returns how many it had left behind."""
    found = _left_behind(mark, process.pid)
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    # Those that have left the group, as daemons do.
    for each in found:
        with suppress(psutil.Error):
            each.kill()
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()
    deadline = time.monotonic() + GRACE_SECONDS
    while not all(map(_has_ended, found)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return sum(not watcher for watcher in found.values())


def _left_behind(mark: str, leader: int) -> dict[psutil.Process, bool]:
    """Processes that run in the group of a program or whose environment has its mark, and whether it is the watcher."""
    found = {}
    for each in psutil.process_iter():
        # Processes of other users hide their environment.
        with suppress(psutil.Error, OSError):
            if each.pid in (leader, os.getpid()) or _has_ended(each):
                continue
            in_group = sys.platform != "win32" and os.getpgid(each.pid) == leader
            if in_group or (mark and each.environ().get(MARK) == mark):
                found[each] = WATCHED in each.cmdline()
    return found


def _has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended, also if nobody has asked for its status, as in containers without an init."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


class _Log:
    """The output of a program in a file that cannot fill the disk: of a very long one, its beginning and its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._head = b""
        self._dropped = 0

    def open(self) -> FileIO:
        """The file to write to: in append mode, a program goes on at the new end of a file that was emptied."""
        return self.path.open("ab", buffering=0)

    def limit(self) -> None:
        """Drops the middle if the file has become too large."""
        with suppress(OSError):
            size = self.path.stat().st_size
            if size <= LARGEST_LOG:
                return
            with self.path.open("r+b") as file:
                if not self._head:
                    self._head = file.read(KEPT_HEAD)
                file.truncate(0)
            self._dropped += size

    def close(self) -> None:
        """Joins the beginning and the end."""
        if not self.path.is_file():  # the program has deleted it
            self.path.write_bytes(self._head)
        size = self.path.stat().st_size
        if not self._dropped and size <= KEPT_HEAD + KEPT_TAIL:
            return
        with self.path.open("rb") as file:
            head = self._head or file.read(KEPT_HEAD)
            file.seek(max(0 if self._head else KEPT_HEAD, size - KEPT_TAIL))
            tail = file.read()
        left_out = self._dropped + size - len(head) - len(tail)
        note = f"\n[... {max(left_out, 0):,} bytes of output are left out ...]\n".encode()
        self.path.write_bytes(head + note + tail)


def last_lines(log: Path, lines: int = 4, longest: int = 600) -> str:
    """The last lines of a log that are not empty, on one line; the last few say what went wrong."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    found = [line.strip() for line in text.splitlines() if line.strip()]
    joined = " | ".join(found[-lines:])
    return joined if len(joined) <= longest else f"...{joined[-longest:]}"


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"it ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ", which the system does if memory runs out" if name == "SIGKILL" else ""
    return f"it was killed by {name}{hint}"
