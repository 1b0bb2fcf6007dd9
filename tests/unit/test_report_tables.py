"""Other programs read the CSV files by their columns, and people compare the numbers of the text table."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from made_up import noisy_study, training, trainings_frame

from proxyflow.quality.best import BEST_COLUMNS
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.reporting.tables import RUN_COLUMNS, number, text_table, with_interval, write_tables
from proxyflow.tracking.queries.reader import TRAINING_COLUMNS

STRATEGY_COLUMNS = (
    "strategy,family,r2,r2_low,r2_high,spearman,spearman_low,spearman_high,spearman_all,spearman_all_low,"
    "spearman_all_high,cost_adjusted_r2,relative_cost,steps,"
    "relative_examples,regret,best_recovered,n_pairs,n_missing,n_unranked,"
    "r2_ranked,r2_ranked_low,r2_ranked_high,spearman_ranked,spearman_ranked_low,spearman_ranked_high,"
    "regret_ranked,regret_ranked_low,regret_ranked_high"
)
TRAININGS = trainings_frame(
    [
        *noisy_study({"random:0.1": (0.1, 0.05), "hardest:0.5,drop=0.05": (0.45, 0.02)}, n=6),
        training("easiest:0.1", "lr=1", 0.5),
        training("easiest:0.1", "lr=2", math.nan, status="failed", error="out of memory, twice"),
    ]
)


@pytest.fixture(scope="module")
def quality() -> StudyQuality:
    return measure_study(TRAININGS, QualityOptions(bootstrap=50), FAMILIES)


@pytest.fixture
def folder(quality: StudyQuality, tmp_path: Path) -> Path:
    write_tables(quality, TRAININGS, tmp_path / "report")
    return tmp_path / "report"


def header(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()[0].split(",")


def test_the_tables_are_there_and_nothing_half_written(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.csv",
        "best_configurations.csv",
        "ceiling.csv",
        "ceiling_gaps.csv",
        "comparisons.csv",
        "epochs.csv",
        "hyperparameters.csv",
        "influence.csv",
        "measures.csv",
        "noise.csv",
        "notes.csv",
        "parts.csv",
        "policies.csv",
        "robustness.csv",
        "runs.csv",
        "selection.csv",
        "strategies.csv",
        "transfer.csv",
    ]


def test_the_columns_are_those_that_other_programs_rely_on(folder: Path) -> None:
    assert header(folder / "strategies.csv") == STRATEGY_COLUMNS.split(",")
    assert header(folder / "best.csv") == BEST_COLUMNS
    assert header(folder / "runs.csv") == [*RUN_COLUMNS, "unranked"]
    # A report is made again from this file, so nothing of a training may be left out.
    assert sorted(RUN_COLUMNS) == sorted(TRAINING_COLUMNS)
    assert header(folder / "notes.csv") == ["strategy", "note"]


def test_the_strategies_read_back_as_they_were_with_empty_cells_empty(folder: Path, quality: StudyQuality) -> None:
    table = pd.read_csv(folder / "strategies.csv", dtype={"n_unranked": "Int64"})
    pd.testing.assert_frame_equal(table, quality.strategies, check_dtype=False, rtol=1e-12)
    line = next(line for line in (folder / "strategies.csv").read_text().splitlines() if line.startswith("easiest:0.1"))
    assert line.split(",")[2:8] == [""] * 6


def test_all_runs_are_listed_those_that_failed_included(folder: Path) -> None:
    table = pd.read_csv(folder / "runs.csv")
    assert len(table) == len(TRAININGS)
    failed = table[table["status"] == "failed"]
    assert failed["error"].tolist() == ["out of memory, twice"]
    keys = ["dataset", "strategy", "config", "seed"]
    assert table[keys].equals(table[keys].sort_values(keys))


def test_notes_are_kept_word_for_word(folder: Path, quality: StudyQuality) -> None:
    table = pd.read_csv(folder / "notes.csv", keep_default_na=False)
    assert [tuple(row) for row in table.itertuples(index=False)] == list(quality.notes)


def test_writing_again_replaces_the_tables(folder: Path, quality: StudyQuality) -> None:
    before = (folder / "runs.csv").read_bytes()
    write_tables(quality, TRAININGS.sample(frac=1, random_state=0), folder)
    assert (folder / "runs.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.85, 2, ".85"),
        (0.854, 2, ".85"),
        (-0.05, 2, "-.05"),
        (1.0, 2, "1.00"),
        (0.999, 2, "1.00"),
        (-1.0, 2, "-1.00"),
        (0.0, 2, ".00"),
        (10.05, 1, "10.1"),
        (20.04, 1, "20.0"),
        (0.1284, 3, ".128"),
        (100.0, 0, "100"),
        (0.2, 0, "0"),
        (math.nan, 2, ""),
        (math.inf, 2, ""),
    ],
)
def test_a_number_is_written_short_and_empty_where_there_is_none(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize("value", [-0.0, -1e-16, -0.004])
def test_a_number_that_rounds_to_nothing_has_no_sign(value: float) -> None:
    assert number(value) == ".00"


def test_an_interval_stands_in_brackets_where_there_is_one() -> None:
    assert with_interval(0.85, 0.27, 0.96) == ".85 [.27, .96]"
    assert with_interval(-0.2, -0.5, 0.1) == "-.20 [-.50, .10]"
    assert with_interval(0.85, math.nan, math.nan) == ".85"
    assert with_interval(math.nan, math.nan, math.nan) == ""


def test_the_text_table_has_a_line_per_strategy_the_best_first_and_every_note(quality: StudyQuality) -> None:
    lines = text_table(quality).splitlines()
    regrets = dict(zip(quality.strategies["strategy"], quality.strategies["regret"], strict=True))
    first, *proxies = [line.split()[0] for line in lines[2 : 2 + len(regrets)]]
    assert first == "full"
    assert {first, *proxies} == set(regrets)
    assert [regrets[name] for name in proxies] == sorted(regrets[name] for name in proxies)
    assert len({len(line) for line in lines[: 2 + len(regrets)]}) == 1
    notes = [line for line in lines if line.startswith("note: ")]
    assert len(notes) == len(quality.notes)
    assert any(line.startswith("note: easiest:0.1: r2 is empty") for line in notes)


def test_the_text_table_shows_the_numbers_of_the_strategy(quality: StudyQuality) -> None:
    row = quality.strategies.set_index("strategy").loc["random:0.1"]
    line = next(line for line in text_table(quality).splitlines() if line.startswith("random:0.1"))
    assert with_interval(row["r2"], row["r2_low"], row["r2_high"]) in line
    assert ".100" in line
    assert line.split()[-2:] == ["12", "0"]


def test_runs_say_whether_they_learned_nothing_and_those_that_do_not_count_say_nothing(tmp_path: Path) -> None:
    rows = [
        training("full", "lr=1", 0.9, steps=400.0),
        training("full", "lr=2", 0.8, steps=400.0),
        training("random:0.1", "lr=1", 0.12, steps=40.0),
        training("random:0.1", "lr=2", 0.5, steps=40.0),
        training("random:0.1", "lr=3", math.nan, status="failed", steps=math.nan),
    ]
    frame = trainings_frame(rows).assign(chance_objective=0.1, n_valid=500)
    made = measure_study(frame, QualityOptions(bootstrap=0), FAMILIES)
    write_tables(made, frame, tmp_path)
    table = pd.read_csv(tmp_path / "runs.csv", dtype=str, keep_default_na=False).set_index(["strategy", "config"])
    assert table["unranked"].to_dict() == {
        ("full", "lr=1"): "False",
        ("full", "lr=2"): "False",
        ("random:0.1", "lr=1"): "True",
        ("random:0.1", "lr=2"): "False",
        ("random:0.1", "lr=3"): "",
    }
    strategies = pd.read_csv(tmp_path / "strategies.csv").set_index("strategy")
    assert strategies["n_unranked"].to_dict() == {"full": 0, "random:0.1": 1}
    assert strategies["steps"].to_dict() == {"full": 400.0, "random:0.1": 40.0}
    policies = pd.read_csv(tmp_path / "policies.csv")
    assert "steps" in policies
    line = next(line for line in text_table(made).splitlines() if line.startswith("random:0.1"))
    assert " 40 " in line
    assert "note: random:0.1: this proxy cannot rank 1 of 2 configurations" in text_table(made)
