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
# A README's row of two strategies: the published difference, ours, what the plan's rule says of it, and what it hangs on.
CELL = r" ([^|]*) \|"
COMPARED = re.compile(rf"^\|[^|]*\| `([^`]+)` \| `([^`]+)` \|{CELL * 7}$", re.MULTILINE)
ALIKE = 0.2
PUBLISHED = {
    **{f"easiest:{share}": f"hard-{1 - share:g}-1.0" for share in (0.1, 0.25, 0.5)},
    **{f"hardest:{share}": f"hard-0.0-{share}" for share in (0.1, 0.25, 0.5)},
    **{f"random:{share}": f"All Classes-{share}" for share in (0.1, 0.25, 0.5)},
    **{f"half-classes:{share}": f"Half Classes-{share}" for share in (0.5, 1.0)},
    **{f"epochs:{epochs}": f"All Classes-1.0-ep{epochs}" for epochs in (1, 5, 10)},
    "other-half-classes:1.0": "Other Half Classes-1.0",
    "hardest:0.5,drop=0.05": "hard-0.05-0.5",
    "distilled:10": "distillation",
}
# Columns that hold a value with the ends of its interval.
VALUES = {
    "measures": ["value"],
    "comparisons": ["difference"],
    "robustness": ["difference"],
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
                if name in ("comparisons", "robustness"):
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


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_what_the_index_and_the_projects_readme_tell_of_a_study_is_in_its_tables(folder: Path) -> None:
    known = set(told_by(read_tables(folder)))
    for text, link in (
        ((REPORTS / "README.md").read_text(encoding="utf-8"), f"({folder.name}/README.md)"),
        ((ROOT / "README.md").read_text(encoding="utf-8"), f"(reports/{folder.name}/README.md)"),
    ):
        [paragraph] = [part for part in re.split(r"\n\n|\n(?=\|)", text) if link in part]
        told = [f"{value} [{low}, {high}]" for value, low, high in TOLD.findall(paragraph)]
        assert told
        assert [each for each in told if each not in known] == []


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_every_comparison_in_a_readme_is_that_of_its_two_strategies(folder: Path) -> None:
    tables = read_tables(folder)
    comparisons, robustness = tables["comparisons"], tables["robustness"]
    of_means = robustness[robustness["measure"] == "r2_of_means"]
    worst = of_means[of_means["split"] == "without"]
    parts = [group for _, group in of_means[of_means["split"] == "dataset"].groupby("part")]
    published = pd.read_csv(Path(__file__).parent / "table2.csv").set_index("strategy_size")["r2"]
    rows = COMPARED.findall((folder / "README.md").read_text(encoding="utf-8"))
    assert len(rows) >= 16
    for first, other, told_published, told, verdict, told_worst, *told_parts, runs in rows:
        value, low, high = difference(comparisons[comparisons["measure"] == "r2_of_means"], first, other)
        better = "better" if low > 0 else "worse" if high < 0 else ""
        alike = "as good" if low >= -ALIKE and high <= ALIKE else ""
        assert (told, verdict) == (
            with_interval(value, low, high),
            ", ".join(filter(None, (better, alike))) or "undecided",
        ), (first, other)
        assert told_worst == with_interval(*difference(worst, first, other)), (first, other)
        assert runs == with_interval(*difference(comparisons[comparisons["measure"] == "r2"], first, other))
        assert told_parts == [with_interval(*difference(part, first, other)) for part in parts], (first, other)
        assert float(told_published) == pytest.approx(
            published[PUBLISHED[first]] - published[PUBLISHED[other]], abs=0.005
        )


def difference(table: pd.DataFrame, first: str, other: str) -> tuple[float, float, float]:
    """The first strategy's measure minus the other's, whichever the table has first, with its interval."""
    for strategy, against, sign in ((first, other, 1), (other, first, -1)):
        found = table[(table["strategy"] == strategy) & (table["other"] == against)]
        if len(found):
            row = found.iloc[0]
            low, high = sorted((sign * float(row["low"]), sign * float(row["high"])))
            return sign * float(row["difference"]), low, high
    raise LookupError(f"{first} and {other} are not compared")


def test_the_index_names_every_study() -> None:
    index = (REPORTS / "README.md").read_text(encoding="utf-8")
    assert STUDIES
    assert all(f"({folder.name}/README.md)" in index for folder in STUDIES)
