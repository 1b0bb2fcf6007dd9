"""A tracking store that is made by whoever comes first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from entry_points import ROOT, environment

COUNT = 3
CONNECT = "from proxyflow.tracking.connection import connect; input(); connect().create_experiment(input())"


def test_processes_that_start_together_make_one_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CONNECT],
            cwd=ROOT,
            env=environment(uri),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(COUNT)
    ]
    ended = []
    for number, child in enumerate(children):
        assert child.stdin is not None
        child.stdin.write(f"\nstudy-{number}\n")
        child.stdin.flush()
    for child in children:
        ended.append((child.communicate(timeout=120)[1], child.returncode))
    assert [status for _, status in ended] == [0] * COUNT, ended
