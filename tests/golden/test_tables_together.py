"""What is said of all lookup tables together follows from their committed trainings."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from entry_points import ROOT
from pandas.testing import assert_frame_equal

from benchmarks.tables.__main__ import tables_at
from benchmarks.tables.findings import BANDS, findings
from benchmarks.tables.together import FOLDER, band, explained, read, regrets
from proxyflow.reporting.tables import with_interval
from proxyflow.tables import REPORTS

TOLD = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")
VALUES = {"quality": "value", "contrasts": "difference", "regression": "explained", "regret": "regret"}


@pytest.fixture(scope="module")
def found() -> dict[str, pd.DataFrame]:
    return read(FOLDER)


@pytest.fixture(scope="module")
def page() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_findings_are_made_again_from_the_committed_trainings(
    found: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    for name, table in findings(tables_at(ROOT / "reports")).items():
        table.to_csv(tmp_path / f"{name}.csv", index=False, float_format="%.6g")
    for name, made in read(tmp_path).items():
        assert_frame_equal(made, found[name], rtol=1e-4, atol=1e-6, obj=name)


def test_the_page_has_their_tables(found: dict[str, pd.DataFrame], page: str) -> None:
    for each in (explained(found), *(band(found, question) for question in BANDS), regrets(found)):
        assert each in page


def test_every_interval_on_the_page_is_theirs(found: dict[str, pd.DataFrame], page: str) -> None:
    known = set()
    for name, column in VALUES.items():
        for value, low, high in found[name][[column, "low", "high"]].astype(float).itertuples(index=False):
            known |= {with_interval(value, low, high), with_interval(-value, -high, -low)}
    told = [f"{value} [{low}, {high}]" for value, low, high in TOLD.findall(page)]
    assert len(told) > 100
    assert [each for each in told if each not in known] == []


def test_the_page_and_the_index_name_every_table(page: str) -> None:
    index = (REPORTS / "README.md").read_text(encoding="utf-8")
    assert "(tables/README.md)" in index
    assert all(f"(../{folder.name}/README.md)" in page for folder in tables_at(REPORTS))
