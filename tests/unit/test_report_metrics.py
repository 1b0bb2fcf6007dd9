"""Studies are compared by the metrics and tables that a report leaves, so they must read back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, trainings_frame

from proxyflow.core.errors import UserError
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.reporting.tables import as_metrics, read_tables, write_tables

PROXIES = {"random:0.1": (0.1, 0.05), "hardest:0.5,drop=0.05": (0.45, 0.02), "easiest:0.1,balance=class": (0.11, 0.04)}
TRAININGS = trainings_frame(
    [{**row, "seed": seed, "run_id": f"{row['run_id']} {seed}"} for row in noisy_study(PROXIES, n=8) for seed in (0, 1)]
)


@pytest.fixture(scope="module")
def quality() -> StudyQuality:
    return measure_study(TRAININGS, QualityOptions(bootstrap=30), FAMILIES)


def test_every_measure_of_every_strategy_is_a_metric(quality: StudyQuality) -> None:
    metrics = as_metrics(quality)
    table = quality.strategies.set_index("strategy")
    for strategy, name in {
        "full": "full",
        "random:0.1": "random:0.1",
        "hardest:0.5,drop=0.05": "hardest:0.5 drop-0.05",
        "easiest:0.1,balance=class": "easiest:0.1 balance-class",
    }.items():
        for measure in ("r2", "spearman", "relative_cost", "cost_adjusted_r2", "regret"):
            expected = table.loc[strategy, measure]
            assert metrics[f"{measure}/{name}"] == pytest.approx(expected, nan_ok=True)
    # The target's own runs repeat themselves here.
    assert metrics["ceiling_seeds/r2"] == pytest.approx(1)
    assert metrics["trainings"] == len(TRAININGS)
    assert metrics["missing_pairs"] == 0


def test_a_metric_says_which_strategy_it_is_of_by_canonicalize_datasets(quality: StudyQuality) -> None:
    metrics = as_metrics(quality)
    assert len([name for name in metrics if "/" in name]) == len(quality.measures) + len(quality.ceiling)


def test_the_tables_read_back_as_they_were(quality: StudyQuality, tmp_path: Path) -> None:
    write_tables(quality, TRAININGS, tmp_path, {})
    tables = read_tables(tmp_path)
    assert "compare" not in tables
    for name, expected in {
        "measures": quality.measures,
        "best": quality.best,
        "ceiling": quality.ceiling,
        "ceiling_gaps": quality.ceiling_gaps,
        "influence": quality.influence,
        "policies": quality.policies.table,
        "parts": quality.parts,
        "transfer": quality.transfer,
        "hyperparameters": quality.hyperparameters,
        "comparisons": quality.comparisons,
        # CSV has no whole numbers that may be missing.
        "selection": quality.selection.astype({"pays_off_after": "float64"}),
        "strategies": quality.strategies.astype({"n_unranked": "float64"}),
    }.items():
        assert len(expected) > 0
        # CSV does not tell text without a letter from nothing.
        known = expected.replace("", np.nan)
        pd.testing.assert_frame_equal(tables[name], known, check_dtype=False, rtol=1e-12, obj=name)
    assert list(tables["notes"]["note"]) == [note for _, note in quality.notes]
    assert list(tables["best_configurations"]["config"]) == list(quality.best_configurations.values["config"])


def test_compared_studies_stand_in_one_table_that_says_whose_row_it_is(quality: StudyQuality, tmp_path: Path) -> None:
    other = quality.strategies.assign(r2=0.5)
    write_tables(quality, TRAININGS, tmp_path, {"this": quality.strategies, "the other": other})
    table = read_tables(tmp_path)["compare"]
    assert list(table.columns) == ["study", *quality.strategies.columns]
    assert list(table["study"]) == ["this"] * 4 + ["the other"] * 4
    assert (table.loc[table["study"] == "the other", "r2"] == 0.5).all()
    write_tables(quality, TRAININGS, tmp_path, {})
    assert not (tmp_path / "compare.csv").exists(), "of an earlier report, whose comparison this one has not"


def test_a_folder_without_a_report_is_refused_with_an_example(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            UserError, match=r"is not a report: give a folder with strategies\.csv, such as report/demo"
        ) as caught:
            read_tables(str(folder))
        assert str(folder) in str(caught.value)


def test_names_that_look_like_missing_values_stay_names(quality: StudyQuality, tmp_path: Path) -> None:
    frame = TRAININGS.assign(dataset=TRAININGS["dataset"].replace({"digits": "NA", "letters": "null"}))
    measured = measure_study(frame, QualityOptions(bootstrap=0), FAMILIES)
    write_tables(measured, frame, tmp_path, {})
    tables = read_tables(tmp_path)
    assert set(tables["best"]["dataset"]) == {"NA", "null"}
    assert np.isnan(tables["strategies"]["r2_low"]).all()
