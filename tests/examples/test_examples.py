"""Every example runs as a new user would run it: data, sweep and report, each in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from entry_points import SECONDS, spawn
from mlflow.tracking import MlflowClient

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGURATIONS = 3  # the fewest for which a report has measures
STRATEGIES = '[full, "random:0.25"]'


@dataclass(frozen=True)
class Example:
    """What a test has to know of an example.

    Attributes:
        folder: its name.
        data: the script that makes its data, and arguments that make few.
        best: range of the best objective on the full data: better than a constant prediction.
        alone: arguments of a short training by its original script; None if it has none.
        packages: what it imports that is no dependency of proxyflow.
    """

    folder: str
    data: tuple[str, ...]
    best: tuple[float, float]
    alone: tuple[str, ...] | None = None
    packages: tuple[str, ...] = ()


DIGITS, TABLE = ("image-folder/make_data.py",), ("gradient-boosting/make_data.py",)
PACKAGES = ("package-sections/make_data.py", "--per-class", "150")
ALL = [
    Example("image-folder", DIGITS, (0.6, 1.0), ("--epochs", "1")),
    Example("gradient-boosting", TABLE, (0.02, 0.5), ("--iterations", "2")),
    Example("package-sections", PACKAGES, (0.3, 0.9), ("--epochs", "1")),
    Example("hugging-face", PACKAGES, (0.15, 0.9), packages=("transformers", "accelerate", "datasets")),
    Example(
        *("lightning-images", DIGITS, (0.6, 1.0), ("--epochs", "1", "--data", "../image-folder/digits")),
        packages=("lightning",),
    ),
    Example("mlflow-project", TABLE, (0.8, 1.0)),
]
SWEEPS = [pytest.param(each, id=each.folder) for each in ALL]
ORIGINALS = [pytest.param(each, id=each.folder) for each in ALL if each.alone is not None]


def test_every_example_is_tested() -> None:
    assert sorted(each.folder for each in ALL) == sorted(path.parent.name for path in EXAMPLES.glob("*/study.yaml"))
    with_original = sorted(path.parent.name for path in EXAMPLES.glob("*/original.py"))
    assert sorted(each.folder for each in ALL if each.alone is not None) == with_original


def importable(package: str) -> bool:
    """Whether a script can import a package, in an interpreter of its own: here, its warnings would be errors."""
    return subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as scripts write next to themselves, with this interpreter as `python`."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging-face"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tracked = shutil.ignore_patterns("digits", "*.csv", "mlflow.db*", "mlruns", "report")
    return shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=tracked)


@pytest.mark.slow
@pytest.mark.parametrize("example", SWEEPS)
def test_an_example_goes_through_sweep_and_report(example: Example, store: str, examples: Path) -> None:
    prepare(example, examples)
    folder = examples / example.folder
    study = shortened_study(folder / "study.yaml")
    planned = CONFIGURATIONS * len(study["strategies"])

    out = run(store, folder, "sweep", "--study", "study.yaml")
    assert f"{planned} trainings planned, {planned} finished ({planned} now)" in out
    trainings = MlflowClient(store).search_runs(
        [MlflowClient(store).get_experiment_by_name(example.folder).experiment_id],
        "tags.`proxyflow.kind` = 'training'",
    )
    assert len(trainings) == planned
    assert {each.data.tags["proxyflow.status"] for each in trainings} == {"finished"}
    assert {each.data.tags["proxyflow.diverged"] for each in trainings} == {"false"}
    assert {each.info.status for each in trainings} == {"FINISHED"}
    goal = {each.data.tags["proxyflow.goal"] for each in trainings}
    assert goal == {study.get("goal", "maximize")}
    full = [each.data.metrics for each in trainings if each.data.tags["proxyflow.strategy"] == "full"]
    assert all(study["metric"] in metrics for metrics in full)
    objectives = [metrics["objective"] for metrics in full]
    low, high = example.best
    assert low < (min if goal == {"minimize"} else max)(objectives) <= high
    assert len(set(objectives)) > 1, "hyperparameters reach the script"

    run(store, folder, "report", "--study", example.folder, "--bootstrap", "50")
    report = folder / "report" / example.folder
    assert (report / "index.html").is_file()
    table = pd.read_csv(report / "strategies.csv").set_index("strategy")
    assert set(table.index) == {"full", *study["strategies"]}
    assert (table["n_pairs"] == CONFIGURATIONS).all()
    assert table.loc["random:0.25", "relative_examples"] == pytest.approx(0.25, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("example", ORIGINALS)
def test_the_original_script_trains_without_proxyflow(example: Example, store: str, examples: Path) -> None:
    prepare(example, examples)
    ended = subprocess.run(
        [sys.executable, "original.py", *(example.alone or ())],
        cwd=examples / example.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert ended.returncode == 0, ended.stderr


def prepare(example: Example, examples: Path) -> None:
    """Makes the example's data; skips the test where the machine lacks what it needs."""
    for package in example.packages:
        if not importable(package):
            pytest.skip(f"{package} is not installed: uv sync --group examples")
    make_data(examples / example.data[0], *example.data[1:])


def shortened_study(file: Path) -> dict[str, Any]:
    """Lowers the number of configurations and of proxies in a study file; returns its content."""
    text = file.read_text()
    for line, shorter in (
        (r"(grid: space\.yaml)@\d+", rf"\1@{CONFIGURATIONS}"),
        (r"(strategies:) .*", rf"\1 {STRATEGIES}"),
    ):
        text, changed = re.subn(rf"^{line}$", shorter, text, flags=re.MULTILINE)
        assert changed == 1
    file.write_text(text)
    return dict(yaml.safe_load(text))


def make_data(script: Path, *arguments: str) -> None:
    ended = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    if "apt-cache" in ended.stderr and ended.returncode == 1:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr


def run(store: str, folder: Path, name: str, *arguments: str) -> str:
    """Runs a command of proxyflow that has to succeed; returns what it prints."""
    process = spawn(store, folder, name, *arguments)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, out + err
    return out


def test_without_apt_the_descriptions_say_where_they_come_from(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, EXAMPLES / "package-sections" / "make_data.py", "--out", tmp_path / "packages.csv"],
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert re.search(r"\bapt-cache\b", ended.stderr)
    assert not (tmp_path / "packages.csv").exists()
