"""What is committed of a study gives its report again, and what its README says stands in the report's tables."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from proxyflow.report.tables import read_tables, with_interval

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"
STUDIES = sorted(path.parent for path in REPORTS.glob("*/runs.csv"))
# `.62 [.41, .78]`, as the report itself writes a value with its interval.
NUMBER = r"-?(?:[0-9]+)?\.?[0-9]+"
TOLD = re.compile(rf"(?<![\w.])({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
# Brackets that are no link's.
BRACKETS = re.compile(r"\[[^\]]*\](?!\()")
# Columns that hold a value with the ends of its interval.
VALUES = {
    "measures": ["value"],
    "comparisons": ["difference"],
    "ceiling": ["value"],
    "transfer": ["correlation"],
    "epochs": ["correlation", "chance"],
    "hyperparameters": ["r2", "sign_agreement"],
}


def command_of(folder: Path) -> list[str]:
    """The README's command that makes the report from the committed trainings."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("python -m entrypoints.report --runs")]
    assert len(lines) == 1
    words = shlex.split(lines[0])
    assert words[words.index("--runs") + 1] == f"reports/{folder.name}/runs.csv"
    return words[1:]


def told_by(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    for name, columns in VALUES.items():
        for column in columns:
            ends = [f"{column}_low", f"{column}_high"] if f"{column}_low" in tables[name] else ["low", "high"]
            for value, low, high in tables[name][[column, *ends]].dropna().astype(float).itertuples(index=False):
                yield with_interval(value, low, high)
                # The table has the better one of two first, and a README the one that a claim is of.
                if name == "comparisons":
                    yield with_interval(-value, -high, -low)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_committed_report_is_made_again_from_its_trainings(folder: Path, tmp_path: Path) -> None:
    command = command_of(folder)
    command[command.index("--out") + 1] = str(tmp_path)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    made, committed = read_tables(tmp_path / folder.name), read_tables(folder)
    assert sorted(made) == sorted(committed)
    for name, table in committed.items():
        assert_frame_equal(made[name], table, check_dtype=False, rtol=1e-6, atol=1e-9, obj=name)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_every_number_with_an_interval_in_a_readme_is_in_its_tables(folder: Path) -> None:
    known = set(told_by(read_tables(folder)))
    text = (folder / "README.md").read_text(encoding="utf-8")
    told = [f"{value} [{low}, {high}]" for value, low, high in TOLD.findall(text)]
    assert [each for each in told if each not in known] == []
    assert len(told) == len(BRACKETS.findall(text)), "every interval is written as the report writes one"


def test_the_index_names_every_study() -> None:
    index = (REPORTS / "README.md").read_text(encoding="utf-8")
    assert STUDIES
    assert all(f"({folder.name}/README.md)" in index for folder in STUDIES)
