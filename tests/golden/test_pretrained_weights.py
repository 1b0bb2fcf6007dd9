"""What the page on pretrained weights says is what its committed trainings say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from benchmarks.pretrained.compare import Arm, contrasts, load_studies, page_of, quality
from proxyflow.reporting.tables import with_interval

FOLDER = Path(__file__).parents[2] / "reports" / "pretrained"
ROOT = FOLDER.parents[1]
NUMBER = r"-?(?:[0-9]+)?\.?[0-9]+"
TOLD = re.compile(rf"(?<![\w.-])({NUMBER}) \[({NUMBER}), ({NUMBER})\]")

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def studies() -> dict[str, dict[str, Arm]]:
    return load_studies(FOLDER)


@pytest.fixture(scope="module")
def tables(studies: dict[str, dict[str, Arm]]) -> Tables:
    return {"quality": quality(studies), "contrasts": contrasts(studies)}


def test_the_tables_are_made_again_from_the_trainings(tables: Tables) -> None:
    for name, table in tables.items():
        assert_frame_equal(table, pd.read_csv(FOLDER / f"{name}.csv"), check_dtype=False, rtol=1e-5, atol=1e-7)


def test_the_page_has_the_tables_of_each_study(studies: dict[str, dict[str, Arm]], tables: Tables) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert studies
    for study in studies:
        for part in page_of(study, **tables).split("\n\n"):
            assert part in page


def test_every_number_with_an_interval_is_in_the_tables(tables: Tables) -> None:
    known = set()
    for table in tables.values():
        for value, low, high in table[["value", "low", "high"]].itertuples(index=False):
            known |= {with_interval(value, low, high), with_interval(-value, -high, -low)}
    index, findings = (ROOT / "reports" / "README.md", ROOT / "docs" / "explanation" / "findings.md")
    parts = [(FOLDER / "README.md").read_text(encoding="utf-8")]
    for page, link in ((index, "(pretrained/README.md)"), (findings, "(../../reports/pretrained/README.md)")):
        [part] = [p for p in re.split(r"\n\n|\n(?=\|)", page.read_text(encoding="utf-8")) if link in p]
        parts.append(part)
    for part in parts:
        told = ["{} [{}, {}]".format(*match) for match in TOLD.findall(part)]
        assert told
        assert [each for each in told if each not in known] == []


def test_trainings_are_whole_and_the_arms_differ_in_nothing_but_their_weights(
    studies: dict[str, dict[str, Arm]],
) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    trainings = 0
    for arms in studies.values():
        none, pretrained = arms.values()
        assert none.configurations == pretrained.configurations
        assert len(none.configurations) >= 24
        assert none.proxies
        assert sorted(none.proxies) == sorted(pretrained.proxies)
        for arm in arms.values():
            runs = arm.table.runs
            cells = runs.groupby(["strategy", "configuration", "seed"]).size()
            assert len(cells) == len(runs) == 2 * len(arm.configurations) * (1 + len(arm.proxies))
            trainings += len(runs)
    assert f"{trainings:,} trainings, all finished" in page


def test_what_the_page_says_of_the_targets_is_so(studies: dict[str, dict[str, Arm]]) -> None:
    page = " ".join((FOLDER / "README.md").read_text(encoding="utf-8").split())
    none, learned = (arm.values["full"].mean(axis=1) for arm in studies["own"].values())
    medians, bests = ([pd.Series(each).quantile(q) for each in (none, learned)] for q in (0.5, 1.0))
    assert "median of the target from {:.1f} to {:.1f} %".format(*medians) in page
    assert "the best from {:.1f} to {:.1f} %".format(*bests) in page
    idle = [
        int(arm.table.runs.query("strategy == 'hardest:0.25'")["unranked"].fillna(value=False).astype(bool).sum())
        for arm in studies["own"].values()
    ]
    assert "learns nothing in {} of 64 trainings from random weights and in {}".format(*idle) in page
