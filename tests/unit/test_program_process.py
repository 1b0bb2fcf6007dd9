"""A program's processes end with it, whatever they do; its log stays within limits, whatever it prints."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from proxyflow.trainers.program import process
from proxyflow.trainers.program.process import MARK, Ended, NotStarted, how_it_ended, last_lines, run_process

Run = Callable[..., Ended]
posix = pytest.mark.skipif(sys.platform == "win32", reason="process groups")
SLEEPER = "[sys.executable, '-c', 'import time; time.sleep(600)', mark]"


@pytest.fixture
def mark(tmp_path: Path) -> str:
    return str(tmp_path / "out put ü")


@pytest.fixture
def run(tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs Python code, which knows `mark`, as a program."""
    monkeypatch.setattr(process, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(process, "GRACE_SECONDS", 1.0)

    def run(code: str, *arguments: str, **options: Any) -> Ended:
        text = f"import os, signal, subprocess, sys, time\nmark = os.environ[{MARK!r}]\n{code}"
        environment = {**os.environ, MARK: mark}
        return run_process([sys.executable, "-c", text, *arguments], tmp_path, environment, tmp_path / "log", **options)

    return run


def left(mark: str) -> list[int]:
    found = []
    for each in psutil.process_iter():
        try:
            if each.environ().get(MARK) == mark and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each.pid)
        except (psutil.Error, OSError):
            continue
    return found


def test_arguments_arrive_as_they_are(run: Run, tmp_path: Path) -> None:
    odd = ["; rm -rf /", "$(id)", "a b", "", "'", '"', "\n", "ü", "*", "--help", "-- -x"]
    assert run("print(sys.argv[1:]); print(os.getcwd())", *odd).status == 0
    assert (tmp_path / "log").read_text() == f"{odd}\n{tmp_path}\n"


def test_a_program_reads_the_end_of_its_input_at_once(run: Run, tmp_path: Path) -> None:
    assert run("print(repr(sys.stdin.read()))", timeout=20.0).status == 0
    assert (tmp_path / "log").read_text() == "''\n"


@pytest.mark.parametrize(("code", "status"), [("", 0), ("sys.exit(3)", 3), ("os.abort()", -signal.SIGABRT)])
def test_the_exit_status_is_the_programs_own(code: str, status: int, run: Run) -> None:
    ended = run(code)
    assert (ended.status, ended.reason, ended.survivors) == (status, "", 0)


@posix
def test_the_program_leads_its_group_and_session(run: Run) -> None:
    assert run("assert os.getpgrp() == os.getsid(0) == os.getpid()").status == 0


@posix
@pytest.mark.parametrize("options", ["", ", start_new_session=True", ", stdout=subprocess.DEVNULL, env={'a': mark}"])
def test_children_that_outlive_the_program_are_ended(
    options: str, run: Run, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 10.0)
    begun = time.monotonic()
    ended = run(f"child = subprocess.Popen({SLEEPER}{options}); print(child.pid)")
    assert ended.status == 0
    assert ended.survivors == 1
    assert not left(mark)
    assert not [each for each in psutil.process_iter(["cmdline"]) if mark in (each.info["cmdline"] or ())]
    assert time.monotonic() - begun < 5, "it waits for nobody who has ended"


@posix
def test_a_daemon_that_forks_twice_is_ended(run: Run, mark: str) -> None:
    run(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)\ntime.sleep(.3)"
    )
    assert not left(mark)


@posix
@pytest.mark.parametrize("deaf", [False, True])
def test_a_timeout_ends_everything(deaf: bool, run: Run, mark: str, tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if deaf else ""
    begun = time.monotonic()
    ended = run(f"{ignore}\nsubprocess.Popen({SLEEPER})\nprint('begun', flush=True)\ntime.sleep(600)", timeout=1.0)
    assert ended.reason == "timeout"
    assert ended.status == (-signal.SIGKILL if deaf else -signal.SIGTERM)
    assert time.monotonic() - begun < 15
    assert not left(mark)
    assert (tmp_path / "log").read_text() == "begun\n"


def test_a_program_that_ends_itself_in_time_may_write_a_checkpoint(run: Run, tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGTERM, lambda *a: (open('saved', 'w').close(), sys.exit(0)))\ntime.sleep(600)"
    ended = run(code, on_poll=lambda seconds: seconds > 0.5)
    assert ended.reason == "stopped"
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_while_it_runs_ends_it(error: type[BaseException], run: Run, mark: str) -> None:
    def on_poll(seconds: float) -> bool:
        raise error

    with pytest.raises(error):
        run("time.sleep(600)", on_poll=on_poll)
    assert not left(mark)


@posix
def test_programs_of_others_are_left_alone(run: Run, mark: str, tmp_path: Path) -> None:
    other = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, MARK: f"{mark}2"})
    try:
        run("pass")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@posix
def test_two_programs_at_once(run: Run, tmp_path: Path, mark: str) -> None:
    ended: list[Ended] = []

    def start(number: int) -> None:
        environment = {**os.environ, MARK: f"{mark}{number}"}
        arguments = [sys.executable, "-c", f"import time; time.sleep({number})"]
        ended.append(run_process(arguments, tmp_path, environment, tmp_path / f"log{number}"))

    threads = [threading.Thread(target=start, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.status for each in ended] == [0, 0]


def test_a_program_that_prints_without_end_fills_no_disk(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LARGEST_LOG", 20_000)
    monkeypatch.setattr(process, "KEPT_HEAD", 1000)
    monkeypatch.setattr(process, "KEPT_TAIL", 2000)
    largest = []
    code = "for n in range(300):\n    print(f'{n:06d}' * 100, flush=True)\n    time.sleep(.003)\nprint('the end')"
    run(code, on_poll=lambda seconds: bool(largest.append((tmp_path / "log").stat().st_size)))
    text = (tmp_path / "log").read_text()
    assert text.startswith("000000")
    assert text.endswith("the end\n")
    assert len(text) < 4000
    assert max(largest) < 100_000
    assert "left out" in text


def test_a_log_that_is_a_little_long_keeps_its_ends(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KEPT_HEAD", 10)
    monkeypatch.setattr(process, "KEPT_TAIL", 10)
    run("print('0123456789' + 'x' * 5 + '9876543210', end='')")
    text = (tmp_path / "log").read_text()
    assert text.startswith("0123456789\n[... 5 bytes")
    assert text.endswith("\n9876543210")
    run("print('a' * 20, end='')")  # all of it fits, and the log goes on where it was


def test_a_program_may_delete_its_log(run: Run, tmp_path: Path) -> None:
    assert run("print('gone'); os.remove('log'); print('more')").status == 0
    assert (tmp_path / "log").is_file()


@posix
def test_without_a_shell_programs_run_without_a_watcher(run: Run, monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    monkeypatch.setattr(process, "SHELL", "/no/such/shell")
    ended = run(f"subprocess.Popen({SLEEPER}); assert not sys.stdin.read(); sys.exit(4)")
    assert (ended.status, ended.survivors) == (4, 1)
    assert not left(mark)


@posix
@pytest.mark.parametrize(
    "change", [{"folder": "no such folder"}, {"arguments": ["echo", "a\0b"]}, {"arguments": ["echo", "x" * 10**7]}]
)
def test_what_cannot_be_started_says_so(change: dict[str, Any], tmp_path: Path) -> None:
    folder, arguments = tmp_path / change.get("folder", ""), change.get("arguments", ["echo"])
    with pytest.raises(NotStarted) as caught:
        run_process(arguments, folder, dict(os.environ), tmp_path / "log")
    assert len(str(caught.value)) < 500


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == ""
    log.write_bytes(b"one\n\n two \r\nthree\n\xff\nfive\n\n")
    assert last_lines(log) == "two | three | \ufffd | five"
    log.write_bytes(b"x" * 100_000)
    assert len(last_lines(log)) < 700


@pytest.mark.parametrize(
    ("status", "part"), [(3, "exit status 3"), (-9, "SIGKILL"), (-15, "SIGTERM"), (-99, "signal 99"), (255, "255")]
)
def test_exit_statuses_in_words(status: int, part: str) -> None:
    assert part in how_it_ended(status)
