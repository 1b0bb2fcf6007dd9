"""Help of a screen with the common options, and a long one with everything; both from the options' declarations."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from proxyflow.cli.app import COMMANDS, load_command, program
from proxyflow.cli.mlproject import mlproject
from proxyflow.cli.options import Option, Topic
from proxyflow.cli.running import status_of
from proxyflow.cli.style import styled

ROOT = Path(__file__).parents[2]
SCREEN = 43  # lines of 80 columns


def options_of(name: str) -> list[Option]:
    return [param for param in load_command(name).params if isinstance(param, Option)]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert status_of(program, arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_on_a_screen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, name, "--help")
    lines = shown.splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 80
    assert lines.index("Example:") < lines.index("Common options:") < lines.index("More options:")
    assert "--help-all" in lines[-1] + lines[-2]
    assert shown == printed(capsys, name, "-h")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_the_common_options_and_names_the_others(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, name, "--help")
    first, _, more = shown.partition("More options:")
    explained = [line.split()[0] for line in first.splitlines() if line.startswith("  --") and "\\" not in line]
    options = options_of(name)
    common = [each.opts[0] for each in options if each.common]
    assert 3 <= len(common) <= 11
    assert [word for word in explained if word in common] == common
    for each in options:
        assert each.common or f" {each.opts[0]}" in more.replace(",", " ").replace("\n", " \n")


@pytest.mark.parametrize("name", COMMANDS)
def test_long_help_explains_every_option_once_under_its_topic(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, name, "--help-all")
    rows = [line.split()[0] for line in shown.splitlines() if line.startswith("  --")]
    example = [word for word in load_command(name).example.split() if word.startswith("--")]  # type: ignore[attr-defined]
    options = options_of(name)
    assert len(options) == len(load_command(name).params)
    for each in options:
        assert each.help
        assert rows.count(each.opts[0]) - example.count(each.opts[0]) <= 1
        assert each.opts[0] in rows
    headings = [line[:-1] for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    topics = [topic.value for topic in Topic]
    assert [heading for heading in headings if heading in topics] == [
        topic.value for topic in Topic if any(each.topic is topic and not each.common for each in options)
    ]
    assert f"mlflow run . -e {name}" in shown


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("train", ["folder:PATH", "random:F", "epochs:N", "python:MODULE:FUNCTION"]),
        ("score", ["heldout_loss", "el2n"]),
        ("distill", ["distribution-matching"]),
        ("search", ["near", "ray", "learning_rate: {low: 0.0001, high: 0.1, log: true}"]),
        ("sweep", ["datasets: [digits, fashion-mnist@2000]"]),
    ],
)
def test_long_help_lists_what_is_registered(name: str, listed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.strip() for line in printed(capsys, name, "--help-all").splitlines()]
    for each in listed:
        assert any(line.startswith(each) for line in lines), each


def test_long_help_is_no_parameter_of_mlproject() -> None:
    assert "help" not in mlproject()


def test_colours_are_for_terminals_that_want_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert styled("error:", fg="red") == click.style("error:", fg="red")
    assert "\x1b" not in printed(capsys, "train", "--help")
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("error:", fg="red") == "error:"


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_shows_errors_in_red_and_headings_in_bold(variables: dict[str, str], coloured: bool) -> None:
    script = (
        "from proxyflow.cli.app import program\n"
        "from proxyflow.cli.running import status_of\n"
        "status_of(program, ['report', '--help']), status_of(program, ['trian'])\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | variables
    parent, terminal = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=env, stdout=terminal, stderr=terminal):
        os.close(terminal)
        shown = "".join(read_all(parent))
    assert ("\x1b[31m" in shown) == coloured
    assert ("\x1b[1mCommon options:\x1b[0m" in shown) == coloured
    assert "Common options:" in shown
    assert "error:" in shown


def read_all(parent: int) -> Iterator[str]:
    """What is written to a terminal until nobody has it open."""
    with contextlib.suppress(OSError):  # that is how Linux tells the end
        while part := os.read(parent, 10_000):
            yield part.decode()
    os.close(parent)
