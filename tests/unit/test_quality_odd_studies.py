"""A report is asked for while a study runs, fails or is tiny; it must then say what it cannot tell, and never break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, study_rows, training, trainings_frame
from mlflow.utils.validation import _validate_metric

from proxyflow.quality.best import BEST_COLUMNS
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import STRATEGY_COLUMNS, StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.reporting.tables import as_metrics, read_tables, text_table, write_tables

PROXIES = {
    "random:0.1": (0.1, 0.06),
    "random:0.5": (0.5, 0.02),
    "easiest:0.25": (0.25, 0.03),
    "hardest:0.5,drop=0.05": (0.55, 0.04),
    "distilled:10": (0.03, 0.5),
}
ROWS = noisy_study(PROXIES, n=8)
TEN = [0.9, 0.8, 0.85, 0.7, 0.75, 0.6, 0.65, 0.5, 0.55, 0.4]


def but(**changes: Any) -> pd.DataFrame:
    return trainings_frame([{**row, **changes} for row in ROWS])


def renamed(column: str, add: str) -> pd.DataFrame:
    keep = {"strategy": "full"}.get(column)
    return trainings_frame([row if row[column] == keep else {**row, column: row[column] + add} for row in ROWS])


def one_name_only(column: str, value: str) -> pd.DataFrame:
    return trainings_frame([row for row in ROWS if row[column] == value])


UGLY = " «데이터» \"x\" 'y' <b>,/\\ é"
ODD: dict[str, pd.DataFrame] = {
    "no trainings": trainings_frame([]),
    "only failed ones": but(status="failed", objective=np.nan),
    "only running ones": but(status="running", objective=np.nan),
    "no target": trainings_frame([row for row in ROWS if row["strategy"] != "full"]),
    "the target alone": trainings_frame([row for row in ROWS if row["strategy"] == "full"]),
    "one training": trainings_frame([training()]),
    "one configuration": one_name_only("config", "default"),
    "two strategies": trainings_frame([row for row in ROWS if row["strategy"] in ("full", "random:0.1")]),
    "no accuracy at all": but(objective=np.nan),
    "constant accuracies": but(objective=0.1),
    "perfect accuracies": but(objective=1.0),
    "everything diverged": but(objective=0.1, diverged=True, epochs=20),
    "one data set": one_name_only("dataset", "digits"),
    "odd names of data sets": renamed("dataset", UGLY),
    "odd names of strategies": renamed("strategy", UGLY),
    "odd names of configurations": renamed("config", UGLY),
    "configurations unknown to this version": renamed("config", ",mixup=0.4"),
    "a strategy unknown to this version": renamed("strategy", "?"),
    "no number of validation images": but().assign(n_valid=pd.array([pd.NA] * len(ROWS), dtype="Int64")),
    "validation images known": but().assign(n_valid=pd.array([500] * len(ROWS), dtype="Int64")),
    "no costs": but(train_seconds=np.nan, examples_seen=np.nan, train_flops=np.nan),
    "costs of 0": but(train_seconds=0.0, examples_seen=0.0, train_flops=0.0),
    "all of one cost": but(train_seconds=10.0),
    "no epochs": but().assign(epochs=pd.array([pd.NA] * len(ROWS), dtype="Int64")),
    "no end": but().assign(end_time=pd.array([pd.NA] * len(ROWS), dtype="Int64")),
    "every run twice": trainings_frame([*ROWS, *ROWS]),
    "every run under two seeds": trainings_frame(
        [{**row, "seed": seed, "run_id": f"{row['run_id']} {seed}"} for row in ROWS for seed in (0, 1)]
    ),
    "tiny spread": trainings_frame([{**row, "objective": 0.9 + 1e-6 * (row["objective"] - 0.8)} for row in ROWS]),
    "every proxy perfect": trainings_frame(
        study_rows({name: TEN for name in ("full", *PROXIES, *(f"random:0.{n}1" for n in range(1, 9)))})
    ),
    "every proxy reversed": trainings_frame(
        study_rows({"full": TEN, **{name: [1 - value for value in TEN] for name in PROXIES}})
    ),
}


def curves_of(frame: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (run_id, epoch, best * epoch / 3)
        for run_id, best in zip(frame["run_id"], frame["objective"], strict=True)
        for epoch in (1, 2, 3)
    ]
    return pd.DataFrame(rows, columns=["run_id", "epoch", "objective"])


def checked(frame: pd.DataFrame, folder: Path, options: QualityOptions) -> StudyQuality:
    quality = measure_study(frame, options, FAMILIES, curves_of(frame))
    assert list(quality.strategies.columns) == STRATEGY_COLUMNS
    assert list(quality.best.columns) == BEST_COLUMNS
    assert quality.verdict.sentences
    for name, column in quality.strategies.select_dtypes("number").items():
        assert not np.isinf(column).any(), name
    shares = quality.strategies[["r2", "r2_low", "r2_high", "best_recovered"]].stack()
    assert shares.dropna().between(-1e-9, 1 + 1e-9).all()
    empty = quality.strategies[["r2", "spearman", "relative_cost", "regret"]].isna().any(axis=1)
    for strategy in quality.strategies.loc[empty, "strategy"]:
        assert any(name in ("", strategy) for name, _ in quality.notes), f"nothing says why {strategy} is not measured"
    text = text_table(quality)
    assert quality.verdict.sentences[0] in text
    assert all(note in text for _, note in quality.notes)
    metrics = as_metrics(quality)
    for key, value in metrics.items():
        _validate_metric(key, value, 0, 0)
    assert len([key for key in metrics if key.startswith("r2/")]) == len(quality.strategies)
    write_tables(quality, frame, folder, {"this": quality.strategies})
    tables = read_tables(folder)
    assert set(tables["runs"]["run_id"]) == set(frame["run_id"])
    assert list(tables["strategies"]["strategy"]) == list(quality.strategies["strategy"])
    return quality


@pytest.mark.parametrize("name", ODD)
def test_any_odd_study_gives_tables_metrics_and_notes_and_neither_error_nor_warning(name: str, tmp_path: Path) -> None:
    quality = checked(ODD[name], tmp_path, QualityOptions(bootstrap=15))
    if quality.strategies.empty or name in ("no target", "one training", "one configuration"):
        assert quality.notes


@pytest.mark.parametrize("samples", [0, 1, 2, 3])
def test_as_few_samples_as_may_be_are_no_error(samples: int, tmp_path: Path) -> None:
    checked(but(), tmp_path, QualityOptions(bootstrap=samples))


@pytest.mark.parametrize(("basis", "curve"), [("train_seconds", "fitted"), ("train_flops", "published")])
def test_a_cost_that_one_run_lacks_takes_nothing_else_away(basis: str, curve: str, tmp_path: Path) -> None:
    frame = but()
    frame.loc[frame["strategy"] == "random:0.1", basis] = np.nan
    quality = checked(frame, tmp_path, QualityOptions(bootstrap=20, cost_basis=basis, cost_curve=curve))
    table = quality.strategies.set_index("strategy")
    assert table.loc["random:0.1", ["relative_cost", "cost_adjusted_r2"]].isna().all()
    assert table["r2"].notna().all()
    assert table.drop(index="random:0.1")["relative_cost"].notna().all()


def test_a_spread_of_a_millionth_is_measured_like_any_other() -> None:
    table = measure_study(ODD["tiny spread"], QualityOptions(bootstrap=0), FAMILIES).strategies.set_index("strategy")
    expected = measure_study(but(), QualityOptions(bootstrap=0), FAMILIES).strategies.set_index("strategy")
    for measure in ("r2", "spearman", "best_recovered"):
        np.testing.assert_allclose(table.loc[expected.index, measure], expected[measure], atol=1e-6)


def test_a_run_that_is_there_twice_counts_once() -> None:
    once, twice = (
        measure_study(ODD[name], QualityOptions(bootstrap=30), FAMILIES) for name in ("no end", "every run twice")
    )
    pd.testing.assert_frame_equal(once.strategies, twice.strategies)
    assert any("repeat" in note for _, note in twice.notes)
