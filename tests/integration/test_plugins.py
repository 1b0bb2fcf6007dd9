"""A package with a plug-in of each kind is installed, and the commands use its plug-ins like their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from entry_points import ROOT, SECONDS, SMALL, Ended, Entry
from entry_points import STUDY as SWEEP
from mlflow.tracking import MlflowClient

import proxyflow as pf
from proxyflow.core import registry
from proxyflow.core.registry import Registry
from proxyflow.data.images.sources import datasets
from proxyflow.scores import known_scores
from proxyflow.strategies import strategies
from proxyflow.studies.executors import executors

PACKAGE = ROOT / "tests" / "support" / "plugin_package"
ORIGIN = "(from package proxyflow-example 1.0)"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is installed as an installer would do it: its modules, and what its pyproject says of it."""
    folder = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    (folder / "proxyflow_example").symlink_to(PACKAGE / "proxyflow_example")
    about = folder / "proxyflow_example-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, offered in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in offered.items())]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return folder


def python(installed: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE …` where the package is installed."""
    path = os.pathsep.join([str(ROOT), str(installed)])
    return subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, "PYTHONPATH": path},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture
def entry_with(installed: Path, entry: Entry) -> Iterator[Entry]:
    """Calls an entry point in this process with the package installed; it is gone after the test."""
    registries: tuple[Registry[Any], ...] = (datasets, known_scores, strategies, executors)
    before = [dict(each._items) for each in registries]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed)
        forget(registries)
        yield entry
    for each, items in zip(registries, before, strict=True):
        each._items = items
    forget(registries)


def forget(registries: tuple[Registry[Any], ...]) -> None:
    """Lets the registries ask anew what is installed."""
    registry._installed.cache_clear()
    for each in registries:
        each.__dict__.pop("_entry_points", None)


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("train", [f"waves  {ORIGIN}", f"middle:F[,by=loss][,balance=none]  {ORIGIN}"]),
        ("score", [f"waves  {ORIGIN}", f"gap  {ORIGIN}"]),
        ("sweep", [f"in-turn  {ORIGIN}", "--executor local|ray|in-turn  Where trainings run; see Executors below."]),
    ],
)
def test_help_lists_plug_ins_with_their_origin(installed: Path, command: str, lines: list[str]) -> None:
    ended = python(installed, "proxyflow", command, "--help-all")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not set(lines) - {line.strip() for line in ended.stdout.splitlines()}


def test_the_program_lists_what_is_installed(installed: Path) -> None:
    ended = python(installed, "proxyflow", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [line.split() for line in ended.stdout.splitlines() if "proxyflow-example" in line]
    offered = [
        ("datasets", "waves"),
        ("executors", "in-turn"),
        ("reductions", "points"),
        ("samplers", "edges"),
        ("scores", "gap"),
        ("strategies", "middle"),
    ]
    offered.append(("trainers", "surface"))
    assert lines == [[*each, "package", "proxyflow-example", "1.0"] for each in offered]


def test_every_command_uses_them(entry_with: Entry, grid_file: Path, tmp_path: Path) -> None:
    data, study = ("--dataset", "waves"), ("--study", "waves")
    scored = succeeds(entry_with("score", *data, *study, *SMALL, "--epochs", "1"))
    client = MlflowClient()
    table = pd.read_parquet(client.download_artifacts(scored.split()[2].rstrip(":"), "scores/scores.parquet"))
    assert table["gap"].between(-1, 1).all()
    assert table["gap"].nunique() > 10

    chosen = succeeds(entry_with("materialize", *data, *study, "--strategy", "middle:0.25,by=gap,balance=class"))
    subset = chosen.split()[2].rstrip(":")
    assert client.get_run(subset).data.params["n_train"] == str(round(len(table) / 4))
    trained = succeeds(entry_with("train", "--subset", subset, *study, *SMALL, "--epochs", "1"))
    assert "waves · middle:0.25,by=gap,balance=class" in trained

    swept = ("--datasets", "waves", "--strategies", "full,middle:0.5,by=gap")
    words = (*swept, *study, "--executor", "in-turn", "--grid", str(grid_file))
    assert "8 finished (8 now)" in succeeds(entry_with("sweep", *words, "--epochs", "1", *SWEEP))
    basis = ("--cost-basis", "examples_seen")
    succeeds(entry_with("report", *study, "--out", str(tmp_path), "--bootstrap", "0", *basis))
    measured = pd.read_csv(tmp_path / "waves" / "strategies.csv").set_index("strategy")
    assert measured.loc["middle:0.5,by=gap", ["family", "n_pairs"]].tolist() == ["Middle Examples", 4]
    # In Python, from MLflow's own frame.
    runs = mlflow.search_runs(experiment_names=["waves"])
    again = pf.measure(runs, cost_basis="examples_seen", bootstrap=0).set_index("strategy")
    for column in ("r2", "regret", "n_pairs", "n_missing"):
        np.testing.assert_allclose(again[column], measured[column], rtol=1e-9)


def succeeds(ended: Ended) -> str:
    """What a command prints that ends well."""
    assert ended.status == 0, ended.err
    return ended.out


def test_without_the_package_its_names_are_unknown(entry: Entry) -> None:
    ended = entry("materialize", "--dataset", "digits", "--strategy", "middle:0.5")
    assert ended.status == 2
    assert "strategy=middle" in ended.err


@pytest.mark.slow
def test_its_own_tests_pass(installed: Path) -> None:
    """One of them runs two studies."""
    ended = python(installed, "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=PACKAGE)
    assert ended.returncode == 0, ended.stdout
