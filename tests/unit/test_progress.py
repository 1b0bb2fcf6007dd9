"""Logs of unattended runs must tell how far the work has come without the control characters of a bar."""

from __future__ import annotations

import io
import sys

import pytest

from proxyflow.core import progress as module
from proxyflow.core.progress import Progress, format_rate, format_seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that tests turn by hand: its only element is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_short_work_off_a_terminal_prints_its_final_line_alone(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("training", items=4, unit="epochs") as progress:
        for _ in range(4):
            clock[0] += 2
            progress.advance()
    assert capsys.readouterr().err == "training: 4/4 epochs (100%), 30.0 epochs/min, took 8.0 s\n"


def test_where_nothing_is_to_do_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("study", items=0, unit="runs"):
        pass
    assert capsys.readouterr().err == ""


def test_long_work_off_a_terminal_prints_a_plain_line_now_and_then(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("study", items=100, unit="runs") as progress:
        for _ in range(100):
            clock[0] += 1
            progress.advance(note="digits")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert "\r" not in captured.err
    assert "\x1b" not in captured.err
    assert len(lines) == 100 // module.SECONDS_BETWEEN_LINES + 1
    assert lines[0] == "study: 15/100 runs (15%), 1.0 runs/s, 1.4 min left · digits"
    assert lines[-1].startswith("study: 100/100 runs (100%)")


def test_time_left_goes_by_work_and_not_by_items(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("study", items=2, unit="runs", work=100.0) as progress:
        clock[0] += 60
        progress.advance(work=75.0)
        assert "1/2 runs (75%)" in (line := capsys.readouterr().err)
        assert "20 s left" in line
        progress.advance(work=25.0)


def test_what_was_done_before_counts_as_done_and_not_for_rate_and_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("distilling", items=100, unit="iterations", work=1.0) as progress:
        progress.skip(80, 0.5)
        assert progress.seconds_left() == 0
        clock[0] += 20
        progress.advance(work=0.1)
        line = capsys.readouterr().err
        assert line == "distilling: 81/100 iterations (60%), 3.0 iterations/min, 1.3 min left\n"


def test_a_bar_begins_where_work_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("distilling", items=4, unit="iterations") as progress:
        progress.skip(2, 2.0)
    assert "distilling  50%" in terminal.getvalue()


def test_the_final_line_says_how_long_it_took_though_fractions_of_work_do_not_add_up(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("study", items=10, unit="runs", work=1.0) as progress:
        for _ in range(10):
            clock[0] += 1
            progress.advance(work=0.1)
    assert "took 10 s" in capsys.readouterr().err


def test_work_that_fails_prints_no_line_of_success(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with Progress("study", items=2, unit="runs") as progress:
            progress.advance()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert capsys.readouterr().err == ""


def test_what_is_said_off_a_terminal_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("study", items=1, unit="runs") as progress:
        progress.say("found in run abc")
        assert capsys.readouterr() == ("", "found in run abc\n")
        progress.advance()


def text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> str:
    """All that two epochs with a remark in between write on a terminal."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("training", items=2, unit="epochs") as progress:
        progress.advance(note="loss 0.5")
        progress.say("a remark")
        progress.advance()
    return terminal.getvalue()


def test_a_terminal_gets_a_bar_and_what_is_said_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_on_a_terminal(monkeypatch)
    assert "\r" in text
    assert "training  50%" in text
    assert "1/2 epochs" in text
    assert "loss 0.5" in text
    assert "\ra remark\n" in text


def test_a_bar_begins_its_text_without_a_stray_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "| ," not in text_on_a_terminal(monkeypatch)


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(2.5, "2.5 runs/s"), (1.0, "1.0 runs/s"), (0.5, "30.0 runs/min"), (0.01, "36.0 runs/h"), (0.0, "0.0 runs/h")],
)
def test_a_rate_is_told_in_the_unit_that_reads_best(per_second: float, text: str) -> None:
    assert format_rate(per_second, "runs") == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (7, "7.0 s"), (750, "12 min"), (5400, "1.5 h"), (101738, "28 h")]
)
def test_seconds_are_told_in_the_unit_that_reads_best(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_work_of_unknown_length_shows_its_share_of_the_budget_and_what_it_took(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("search", None, "trainings", work=8.0) as progress:
        clock[0] += 60
        progress.advance(work=2.0, note="best so far default: 0.912")
        line = capsys.readouterr().err
        assert line == "search: 1 trainings (25%), 1.0 trainings/min, 3.0 min left · best so far default: 0.912\n"
        clock[0] += 60
    assert capsys.readouterr().err == "search: 1 trainings (25%), 30.0 trainings/h, took 2.0 min\n"


def test_work_of_unknown_length_that_did_nothing_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("search", None, "trainings", work=8.0):
        pass
    assert capsys.readouterr().err == ""
