"""An installation has all that it needs: the program, types, and the report's files, and nothing of the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from entry_points import ROOT, SECONDS

from proxyflow.cli.app import COMMANDS

UV = shutil.which("uv")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(UV is None, reason="needs uv, which builds and installs the wheel")]
STUDY = ROOT / "reports" / "clothes-and-digits"


def run(*words: str | Path, cwd: Path, **variables: str) -> str:
    """Runs a command that has to succeed, without the clone; returns what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution and not from the clone."""
    folder = tmp_path_factory.mktemp("dist")
    run(str(UV), "build", "--quiet", "--out-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files alone; its requirements are this environment's."""
    folder = tmp_path_factory.mktemp("site")
    words = ("pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", folder, wheel)
    run(str(UV), *words, cwd=folder)
    return folder


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names} == {
        "proxyflow",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }
    files = (path for path in (ROOT / "proxyflow").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert {name for name in names if name.startswith("proxyflow/")} == {str(path.relative_to(ROOT)) for path in files}
    assert "proxyflow/py.typed" in names


def test_the_program_runs_without_the_clone(installed: Path, tmp_path: Path) -> None:
    variables = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    place = run(sys.executable, "-c", "import proxyflow; print(proxyflow.__file__)", cwd=tmp_path, **variables)
    assert Path(place.strip()).parent == installed / "proxyflow"
    program = installed / "bin" / "proxyflow"
    for words in ((program, "--help"), (sys.executable, "-m", "proxyflow", "--help")):
        printed = run(*words, cwd=tmp_path, **variables)
        assert all(name in printed for name in COMMANDS)
    for name in COMMANDS:
        assert f"\n  proxyflow {name} " in run(program, name, "--help", cwd=tmp_path, **variables)


def test_it_makes_a_report(installed: Path, tmp_path: Path) -> None:
    words = ("report", "--runs", STUDY / "runs.csv", "--out", tmp_path, "--bootstrap", "0")
    run(installed / "bin" / "proxyflow", *words, cwd=tmp_path, PYTHONPATH=str(installed))
    page = (tmp_path / STUDY.name / "index.html").read_text(encoding="utf-8")
    assert (installed / "proxyflow/reporting/assets/tables.js").read_text(encoding="utf-8")[:200] in page
    assert (tmp_path / STUDY.name / "strategies.csv").exists()
