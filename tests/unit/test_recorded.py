"""A report made again from its own tables says the same, to the last digit; what is no such table is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, trainings_frame

from proxyflow.core.errors import UserError
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.reporting.recorded import ADDED_TO_CURVES, ADDED_TO_RUNS, FORMER, read_recorded
from proxyflow.reporting.run import ReportOptions, remake_report
from proxyflow.reporting.tables import CURVE_LABELS, RUN_COLUMNS, SINGLE, read_tables, write_tables
from proxyflow.tracking.queries.curves import COLUMNS


def study() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trainings and curves with what CSV makes hard: digits, empty cells, a word that pandas takes for missing."""
    frame = trainings_frame(noisy_study({"random:0.1": (0.1, 0.03), "easiest:0.5": (0.5, 0.01)}))
    frame["train_seconds"] *= np.random.default_rng(0).uniform(0.5, 2, len(frame))
    frame["selection_train_seconds"] = np.where(frame["strategy"] == "easiest:0.5", 1 / 3, 0)
    frame["dataset_fingerprint"] = frame["dataset"].map({"digits": "a" * 64, "letters": "b" * 64})
    frame["objective"] = frame["best_valid_accuracy"] = frame["objective"].clip(upper=1)
    frame["run_key"] = frame["run_id"]
    text = ["name", "error", "device", "precision", "subset_fingerprint", "trainer"]
    frame[text] = ""
    frame.loc[3, ["status", "error"]] = ["failed", 'no space, "twice"; see\\n']
    frame.loc[4, "name"] = "nan"
    frame.loc[5, ["objective", "best_valid_accuracy"]] = np.nan
    frame["n_valid"] = pd.array([500] * (len(frame) - 1) + [None], dtype="Int64")
    frame["device_shared"] = pd.array([True, False, None] * len(frame), dtype="boolean")[: len(frame)]
    frame["n_test"] = pd.array([None, 100] * len(frame), dtype="Int64")[: len(frame)]
    frame["test_objective"] = frame["test_accuracy"] = np.where(frame["n_test"].isna(), np.nan, 2 / 3)
    rng = np.random.default_rng(1)
    rows = [(run, epoch, *rng.uniform(size=4)) for run in sorted(frame["run_id"]) for epoch in range(1, 21)]
    curves = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    curves.loc[5, "valid_loss"] = np.nan
    curves.loc[6, "train_loss"] = 1e-7
    return frame, curves


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "mine"
    folder.mkdir()
    frame, curves = study()
    quality = measure_study(frame, QualityOptions(bootstrap=50, cost_basis="auto"), FAMILIES, curves)
    write_tables(quality, frame, folder, curves=curves)
    return folder


def test_trainings_and_curves_read_back_as_they_were(written: Path) -> None:
    frame, curves = study()
    found, of_epochs = read_recorded(written / "runs.csv")
    order = ["dataset", "strategy", "config", "seed"]
    expected = frame.sort_values(order, ignore_index=True)[found.columns]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
    assert of_epochs is not None
    assert_curves(of_epochs, curves)


def assert_curves(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The metric to its last digit, losses and seconds in single precision."""
    exact, single = [name for name in COLUMNS if name not in SINGLE], list(SINGLE)
    pd.testing.assert_frame_equal(found[exact], expected[exact], check_dtype=False, check_exact=True)
    pd.testing.assert_frame_equal(found[single], expected[single], check_dtype=False, rtol=1e-6)


def test_a_report_made_again_has_the_same_tables(written: Path, tmp_path: Path) -> None:
    made = remake_report(written / "runs.csv", "mine", ReportOptions(out=str(tmp_path), bootstrap=50, runs="r.csv"))
    assert made.run_id == ""
    assert "runs.csv" in made.unlogged
    names = sorted(path.name for path in written.glob("*.csv"))
    assert "curves.csv" in names
    assert sorted(path.name for path in made.page.parent.glob("*.csv")) == names
    for name in names:
        assert (made.page.parent / name).read_bytes() == (written / name).read_bytes(), name
    page = made.page.read_text(encoding="utf-8")
    assert "-P runs=r.csv" in page, "the foot of the page says how it was made"


def test_every_epoch_stands_with_what_was_trained(written: Path) -> None:
    frame, curves = study()
    table = read_tables(written)["curves"]
    assert list(table) == ["run_id", *CURVE_LABELS, *list(COLUMNS)[1:]]
    labels = curves[["run_id"]].merge(frame[["run_id", *CURVE_LABELS]], on="run_id", how="left")
    pd.testing.assert_frame_equal(table[["run_id", *CURVE_LABELS]], labels, check_dtype=False)
    assert_curves(table, curves)


def test_files_of_a_report_that_knew_fewer_columns_are_read(written: Path, tmp_path: Path) -> None:
    for name in ("runs", "curves"):
        table = pd.read_csv(written / f"{name}.csv", dtype=str, keep_default_na=False)
        later = ADDED_TO_CURVES | set(CURVE_LABELS) if name == "curves" else ADDED_TO_RUNS
        table = table.drop(columns=later, errors="ignore")
        (table.rename(columns=FORMER) if name == "curves" else table).to_csv(tmp_path / f"{name}.csv", index=False)
    older, older_curves = read_recorded(tmp_path / "runs.csv")
    found, curves = read_recorded(written / "runs.csv")
    assert older_curves is not None
    assert curves is not None
    # What a training was judged by is known: accuracy is all that there was.
    known = ["metric", "goal", "aggregate", "share", "objective"]
    common = [name for name in found if name not in ADDED_TO_RUNS or name in known]
    pd.testing.assert_frame_equal(older[common], found[common])
    added = older[[name for name in found if name not in common]]
    assert (added.isna() | (added == "")).all(axis=None)
    assert older.dtypes.equals(found.dtypes)
    pd.testing.assert_series_equal(older_curves["objective"], curves["objective"])
    assert older_curves[[name for name in ADDED_TO_CURVES]].isna().all(axis=None)


def test_without_curves_there_is_no_table_of_epochs(written: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_bytes((written / "runs.csv").read_bytes())
    found, curves = read_recorded(tmp_path / "runs.csv")
    assert len(found) == len(study()[0])
    assert curves is None


def test_numbers_that_no_training_has_are_missing_and_text_is_cleaned(written: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(written / "runs.csv", dtype=str, keep_default_na=False)
    # Values are at most 1, amounts not negative; what a terminal obeys is no part of a name.
    rows.loc[0, ["objective", "best_valid_accuracy", "seed", "end_time"]] = ["7", "7", "one", "1e400"]
    rows.loc[0, "train_seconds"] = "-1"
    rows.loc[0, "config"] = "a\x1b[31m"
    rows.to_csv(tmp_path / "runs.csv", index=False)
    row = read_recorded(tmp_path / "runs.csv")[0].iloc[0]
    assert np.isnan(row["objective"])
    assert np.isnan(row["best_valid_accuracy"])
    assert np.isnan(row["train_seconds"])
    assert row["seed"] == 0
    assert row["end_time"] is pd.NA
    assert "\x1b" not in row["config"]


def test_an_epoch_is_a_whole_number(written: Path, tmp_path: Path) -> None:
    for name in ("runs", "curves"):
        (tmp_path / f"{name}.csv").write_bytes((written / f"{name}.csv").read_bytes())
    with (tmp_path / "curves.csv").open("a") as file:
        for row in ("1.7,0.5,,,", "2,0.5,,,", "3,nan,,,", "inf,0.5,,,", "5,one,,,", "6,,2,inf,-1"):
            file.write(f"a,d,s,c,0,{row}\n")
    curves = read_recorded(tmp_path / "runs.csv")[1]
    assert curves is not None
    assert curves.loc[curves["run_id"] == "a", "epoch"].tolist() == [2, 6]
    assert curves.loc[curves["run_id"] == "a", "valid_loss"].isna().tolist() == [True, False]
    assert curves.loc[curves["run_id"] == "a", ["train_loss", "epoch_seconds"]].isna().all(axis=None)


def test_a_share_of_more_than_one_is_missing_and_a_loss_may_be_anything(written: Path, tmp_path: Path) -> None:
    for name in ("runs", "curves"):
        table = pd.read_csv(written / f"{name}.csv", dtype=str, keep_default_na=False)
        table.loc[0, "objective"] = "1.5"
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    found, curves = read_recorded(tmp_path / "runs.csv")
    assert curves is not None
    assert np.isnan(found["objective"][0])
    assert np.isnan(curves["objective"][0])
    table = pd.read_csv(tmp_path / "runs.csv", dtype=str, keep_default_na=False)
    table.assign(metric="rmse", goal="minimize", share="False").to_csv(tmp_path / "runs.csv", index=False)
    found, curves = read_recorded(tmp_path / "runs.csv")
    assert curves is not None
    assert (found["objective"][0], curves["objective"][0]) == (1.5, 1.5)
    assert (found["metric"][0], found["goal"][0], found["share"][0]) == ("rmse", "minimize", False)


def test_a_training_whose_metric_is_none_has_no_result(written: Path, tmp_path: Path) -> None:
    table = pd.read_csv(written / "runs.csv", dtype=str, keep_default_na=False)
    table.assign(goal="sideways").to_csv(tmp_path / "runs.csv", index=False)
    assert read_recorded(tmp_path / "runs.csv")[0]["objective"].isna().all()


def test_a_report_may_replace_the_files_that_it_is_made_from(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("runs.csv", "curves.csv"):
        (folder / name).write_bytes((written / name).read_bytes())
    frame, curves = read_recorded(folder / "runs.csv")
    quality = measure_study(frame, QualityOptions(bootstrap=0), FAMILIES, curves)
    write_tables(quality, frame, folder, curves=curves)
    assert all((folder / name).read_bytes() == (written / name).read_bytes() for name in ("runs.csv", "curves.csv"))
    write_tables(quality, frame, folder)
    assert not (folder / "curves.csv").exists(), "curves of another report do not stay"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"", "has no column run_id, dataset"),
        (b"\xff\xfe\x00", "is not a table"),
        (b"\x1f\x8b\x08", "is not a table"),
        (b'a,"b\n', "is not a table"),
        (b"a,b\n1,2,3\n4\n", "has no column run_id, dataset, strategy and [0-9]+ more: give a file"),
        (",".join([*RUN_COLUMNS, "seed"]).encode() + b"\n", "has the column seed 2 times"),
        (",".join(RUN_COLUMNS).encode() + b"\n" + b"," * len(RUN_COLUMNS) + b"\n", "row 2: it has [0-9]+ cells"),
        (",".join(RUN_COLUMNS).encode() + b"\n", "has no training"),
        (",".join(name for name in RUN_COLUMNS if name != "seed").encode() + b"\n", "has no column seed: give a file"),
    ],
)
def test_what_is_no_table_of_trainings_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_recorded(tmp_path / "runs.csv")
