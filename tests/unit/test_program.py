"""The program finds its commands, and says what a user can type next, however it was started."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from proxyflow import __version__
from proxyflow.cli.app import COMMANDS, load_command, program
from proxyflow.cli.program import next_command
from proxyflow.cli.running import status_of
from proxyflow.core.errors import UnknownName

ROOT = Path(__file__).parents[2]


def test_an_unknown_command_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName) as caught:
        load_command("trian")
    assert (caught.value.name, caught.value.value) == ("command", "trian")
    assert status_of(program, ["trian", "--epochs", "1"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "did you mean train?" in printed.err
    assert all(name in printed.err for name in COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["--epochs", "1"], ["train", "--epohcs", "1"]])
def test_what_the_program_cannot_read_is_refused_in_a_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(program, arguments) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(program, ["--help"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [tuple(line) for line in lines[-len(COMMANDS) :]] == list(COMMANDS.items())


@pytest.mark.parametrize(
    ("module", "begin"),
    [
        ("entrypoints.sweep", "python -m entrypoints.report"),
        ("proxyflow.__main__", "python -m proxyflow report"),
        (None, "proxyflow report"),
    ],
)
def test_the_next_command_is_started_as_this_one_was(
    monkeypatch: pytest.MonkeyPatch, module: str | None, begin: str
) -> None:
    spec = None if module is None else ModuleSpec(module, None)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    assert next_command("report", "my study", out=None, bootstrap=0) == f"{begin} --bootstrap 0 --study 'my study'"


@pytest.mark.parametrize("module", ["proxyflow", "entrypoints.train"])
def test_modules_are_programs(module: str) -> None:
    words = [sys.executable, "-m", module, *(["train"] if module == "proxyflow" else []), "--strategy", "rand:1"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: strategy=rand is not accepted: did you mean random?")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(program, ["--version"]) == 0
    assert capsys.readouterr().out == f"proxyflow {__version__}\n"
