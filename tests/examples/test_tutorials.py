"""Every tutorial is followed by its letter in an empty folder, and shows what a reader sees."""

from __future__ import annotations

import os
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from entry_points import ROOT
from tutorial_pages import COMMANDS, DIFF, FILES, NOT_RUN, OUTPUT, Block, Reader, blocks_of, pattern_of

from proxyflow.cli.app import load_command

TUTORIALS = ROOT / "docs" / "tutorials"
PAGES = sorted(TUTORIALS.glob("*.md"))
for_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
# What a test need not do: the package is installed, and the server of the UI does not end.
STARTS_NOT_RUN = ("$ git clone ", "$ pip install ", "$ mlflow ui")


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Somebody in an empty folder, with this interpreter as `python` and its commands."""
    folder = tmp_path / "empty"
    folder.mkdir()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_TRACKING")}
    return Reader(
        folder,
        inherited
        | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "PROXYFLOW_DATA_DIR": str(tmp_path / "data"),
            "PROXYFLOW_STATE_DIR": str(tmp_path / "state"),
        },
    )


@for_each_page
def test_what_is_not_run_is_the_installation_and_the_ui(page: Path) -> None:
    lines = [line for block in blocks_of(page) if block.kind == NOT_RUN for line in block.text.splitlines()]
    assert lines
    assert not [line for line in lines if not line.startswith(STARTS_NOT_RUN)]


@for_each_page
def test_outputs_are_shown_where_commands_are_and_commands_have_their_options(page: Path) -> None:
    blocks = blocks_of(page)
    for before, after in pairwise(blocks):
        assert after.kind != OUTPUT or before.kind == COMMANDS
    commands = [line for block in blocks if block.kind == COMMANDS for line in block.text.splitlines()]
    searches = [shlex.split(line)[1:] for line in commands if line.startswith("proxyflow ")]
    assert any(words[0] == "search" for words in searches)
    for name, *words in searches:
        known = {option for param in load_command(name).params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known


@for_each_page
def test_links_of_a_tutorial_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert targets
    assert not [each for each in targets if not (page.parent / each).exists()]


@for_each_page
def test_a_tutorial_is_short(page: Path) -> None:
    files = [block for block in blocks_of(page) if block.kind in FILES]
    assert all(len(block.text.splitlines()) <= 40 for block in files)
    edits = [line for block in blocks_of(page) if block.kind == DIFF for line in block.text.splitlines()]
    assert len([line for line in edits if line.startswith("+")]) <= 3


@pytest.mark.slow
def test_the_image_folder_is_tuned_as_the_page_says(reader: Reader) -> None:
    printed = dict(reader.follow(TUTORIALS / "image-folder.md"))
    folder = reader.folder
    assert len(list((folder / "pictures").glob("*/*.png"))) == 900
    [searched] = [text for command, text in printed.items() if re.match(r"proxyflow search (?!.*dry-run)", command)]
    assert best_value(searched) > 0.85
    [page] = re.findall(r"^page: artifact search/index.html of run \w+, the file (.*)$", searched, re.MULTILINE)
    assert "<html" in (folder / page).read_text()
    [trained] = [text for command, text in printed.items() if command.startswith("proxyflow train")]
    [accuracy] = re.findall(r"best accuracy (\S+) in epoch", trained)
    assert float(accuracy) > 0.85


@pytest.mark.slow
def test_the_script_is_tuned_as_the_page_says(reader: Reader) -> None:
    printed = dict(reader.follow(TUTORIALS / "own-script.md"))
    [checked] = [text for command, text in printed.items() if command.startswith("proxyflow check")]
    assert re.search(r"^Tuning on random:0\.1 is not shown to be safe: ", checked, re.MULTILINE)
    [alone] = [text for command, text in printed.items() if "python train.py\n" in command]
    [searched] = [text for command, text in printed.items() if command.startswith("proxyflow search")]
    assert best_value(searched) > float(re.findall(r"accuracy (\S+)", alone)[-1])
    # The check's trainings on all data are there, and cost nothing.
    [(trainings, cost)] = re.findall(r"^  full: (\d+) trainings, (\S+) full trainings", searched, re.MULTILINE)
    configurations = 8
    assert int(trainings) == configurations + round(float(cost))
    [best] = (reader.folder / "mlruns").glob("*/*/artifacts/search/best.yaml")
    assert set(yaml.safe_load(best.read_text())) == {"lr", "width"}


def best_value(printed: str) -> float:
    [value] = re.findall(r"^  accuracy (\S+) expected over seeds", printed, re.MULTILINE)
    return float(value)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (
            "0.25 of 4 spent · full lr=0.1: accuracy 0.9 · …",
            "1.25 of 4 spent · full default=1: accuracy 1 · best",
            True,
        ),
        ("page: artifact of run " + "0" * 32, "page: artifact of run " + "1a" * 16, True),
        ("full  1.00  0.2 [0.0, 0.4]", "full     1.00 12.21 [9.02, 9.44]", True),
        ("full: 3 trainings", "full: 3 trainings failed", False),
        ("Tuning on it is safe", "Tuning on it is not safe", False),
    ],
)
def test_numbers_and_configurations_may_differ_from_those_of_a_page(shown: str, printed: str, same: bool) -> None:
    assert (pattern_of(shown).fullmatch(printed) is not None) == same


def test_a_diff_is_an_edit_of_the_file_that_has_its_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n# one.py\na = 1\nb = 2\nc = 3\n```\n```diff\n a = 1\n+import c\n ...\n-c = 3\n+c = 4\n```\n"
        "```sh\ncat one.py\n```\n```text\nimport c\n…\nc = 5\n```\n"
    )
    [(command, printed)] = Reader(tmp_path, os.environ).follow(page)
    assert (command, printed) == ("cat one.py\n", "a = 1\nimport c\nb = 2\nc = 4\n")
    page.write_text(page.read_text().replace("c = 5", "d = 5"))
    with pytest.raises(AssertionError, match="The page shows"):
        list(Reader(tmp_path, os.environ).follow(page))
    assert blocks_of(page)[-1] == Block(OUTPUT, "import c\n…\nd = 5\n")
