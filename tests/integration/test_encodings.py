"""Output that a terminal or a file cannot show ends no command, least of all after its work is done."""

from __future__ import annotations

import subprocess
import sys

import pytest
from entry_points import SECONDS, environment


def python(uri: str, encoding: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(uri, PYTHONIOENCODING=encoding),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1:strict", "cp437:strict", "utf-8:strict"])
def test_any_text_can_be_printed_in_any_encoding(store: str, encoding: str) -> None:
    """Through what runs all entry points; errors go the same way."""
    code = (
        "import click, sys\nfrom proxyflow.cli.running import run\nfrom proxyflow.core.errors import UserError\n"
        "@click.command()\ndef text():\n"
        "    print('digits · 数据 \\udc80')\n    print('· 数据 \\udc80', file=sys.stderr)\n"
        "    raise UserError('· 数据')\n"
        "run(text)\n"
    )
    ended = python(store, encoding, "-c", code)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout.startswith(b"digits ")
    assert b"Traceback" not in ended.stderr
    assert ended.stderr.count(b"\n") == 2


def test_a_training_is_reported_in_ascii(store: str) -> None:
    tiny = ("--arch", "xresnet10-w16", "--image-size", "8", "--batch-size", "128", "--epochs", "1")
    ended = python(store, "ascii:strict", "-m", "entrypoints.train", *tiny, "--strategy", "random:0.2")
    assert ended.returncode == 0, ended.stderr
    assert b"digits \\xb7 random:0.2" in ended.stdout
