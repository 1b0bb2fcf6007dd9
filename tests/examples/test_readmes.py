"""Examples differ from the original scripts by three lines at most, and say by which."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest
import yaml

from proxyflow.trainers.program.command import PLACEHOLDERS, parse_command

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/study.yaml"))
MOST_LINES = 3
for_each_example = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def changes(folder: Path) -> list[str]:
    """The lines that differ between `original.py` and `train.py`, each with its sign; none if there is one script."""
    original, adapted = folder / "original.py", folder / "train.py"
    if not original.exists():
        assert adapted.is_file()
        return []
    before, after = (path.read_text().splitlines() for path in (original, adapted))
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    return [line for line in lines if not line.startswith("@@")]


@for_each_example
def test_at_most_three_lines_change(folder: Path) -> None:
    signs = [line[0] for line in changes(folder)]
    assert max(signs.count("+"), signs.count("-")) <= MOST_LINES
    assert "proxyflow" not in (folder / "original.py" if signs else folder / "train.py").read_text()


@for_each_example
def test_the_readme_shows_the_difference_and_the_commands(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    shown = re.findall(r"```diff\n(.*?)```", text, re.DOTALL)
    assert [line for block in shown for line in block.splitlines()] == changes(folder)
    assert "proxyflow sweep --study study.yaml\n" in text
    assert f"proxyflow report --study {folder.name}\n" in text
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert 1 <= len([line for line in prose.splitlines()[1:] if line.strip()]) <= 5


@for_each_example
def test_the_command_uses_every_hyperparameter_of_the_space(folder: Path) -> None:
    study = yaml.safe_load((folder / "study.yaml").read_text())
    space = yaml.safe_load((folder / "space.yaml").read_text())
    assert study["study"] == folder.name
    assert parse_command(study["program"]).placeholders - set(PLACEHOLDERS) == set(space)


def test_the_overview_lists_every_example_with_its_number_of_changed_lines() -> None:
    rows = re.findall(r"^\| \[([a-z-]+)\]\(\1\) .* \| (\d) \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    expected = {}
    for folder in FOLDERS:
        signs = [line[0] for line in changes(folder)]
        expected[folder.name] = str(max(signs.count("+"), signs.count("-")))
    assert sorted(rows) == sorted(expected.items())
