"""A report made again from its own tables says the same, to the last digit; what is no such table is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, trainings_frame

from proxyflow.errors import UserError
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import measure_study
from proxyflow.report.recorded import read_recorded
from proxyflow.report.run import ReportOptions, remake_report
from proxyflow.report.tables import RUN_COLUMNS, write_tables
from proxyflow.report.vocabulary import VOCABULARY


def study() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trainings and curves with what CSV makes hard: digits, empty cells, a word that pandas takes for missing."""
    frame = trainings_frame(noisy_study({"random:0.1": (0.1, 0.03), "easiest:0.5": (0.5, 0.01)}))
    frame["train_seconds"] *= np.random.default_rng(0).uniform(0.5, 2, len(frame))
    frame["selection_train_seconds"] = np.where(frame["strategy"] == "easiest:0.5", 1 / 3, 0)
    frame["dataset_fingerprint"] = frame["dataset"].map({"digits": "a" * 64, "letters": "b" * 64})
    frame["best_valid_accuracy"] = frame["best_valid_accuracy"].clip(upper=1)
    frame["run_key"] = frame["run_id"]
    text = ["name", "error", "device", "precision", "subset_fingerprint"]
    frame[text] = ""
    frame.loc[3, ["status", "error"]] = ["failed", 'no space, "twice"; see\\n']
    frame.loc[4, "name"] = "nan"
    frame.loc[5, "best_valid_accuracy"] = np.nan
    frame["n_valid"] = pd.array([500] * (len(frame) - 1) + [None], dtype="Int64")
    target = frame.loc[frame["strategy"] == "full", "run_id"]
    rng = np.random.default_rng(1)
    rows = [(run, epoch, rng.uniform()) for run in sorted(target) for epoch in range(1, 21)]
    return frame, pd.DataFrame(rows, columns=["run_id", "epoch", "valid_accuracy"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "mine"
    folder.mkdir()
    frame, curves = study()
    quality = measure_study(frame, QualityOptions(bootstrap=50), VOCABULARY, curves)
    write_tables(quality, frame, folder, curves=curves)
    return folder


def test_trainings_and_curves_read_back_as_they_were(written: Path) -> None:
    frame, curves = study()
    found, of_epochs = read_recorded(written / "runs.csv")
    order = ["dataset", "strategy", "config", "seed"]
    expected = frame.sort_values(order, ignore_index=True)[found.columns]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
    assert of_epochs is not None
    pd.testing.assert_frame_equal(of_epochs, curves, check_exact=True)


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


def test_without_curves_there_is_no_table_of_epochs(written: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_bytes((written / "runs.csv").read_bytes())
    found, curves = read_recorded(tmp_path / "runs.csv")
    assert len(found) == len(study()[0])
    assert curves is None


def test_numbers_that_no_training_has_are_missing_and_text_is_cleaned(written: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(written / "runs.csv", dtype=str, keep_default_na=False)
    # Accuracies are at most 1, amounts not negative; what a terminal obeys is no part of a name.
    rows.loc[0, ["best_valid_accuracy", "train_seconds", "seed", "end_time"]] = ["7", "-1", "one", "1e400"]
    rows.loc[0, "config"] = "a\x1b[31m"
    rows.to_csv(tmp_path / "runs.csv", index=False)
    row = read_recorded(tmp_path / "runs.csv")[0].iloc[0]
    assert np.isnan(row["best_valid_accuracy"])
    assert np.isnan(row["train_seconds"])
    assert row["seed"] == 0
    assert row["end_time"] is pd.NA
    assert "\x1b" not in row["config"]


def test_an_epoch_is_a_whole_number(written: Path, tmp_path: Path) -> None:
    for name in ("runs", "curves"):
        (tmp_path / f"{name}.csv").write_bytes((written / f"{name}.csv").read_bytes())
    with (tmp_path / "curves.csv").open("a") as file:
        file.write("a,1.7,0.5\na,2,0.5\na,3,nan\na,4,1.5\na,inf,0.5\na,5,one\n")
    curves = read_recorded(tmp_path / "runs.csv")[1]
    assert curves is not None
    assert curves.loc[curves["run_id"] == "a", "epoch"].tolist() == [2]


def test_a_report_may_replace_the_files_that_it_is_made_from(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("runs.csv", "curves.csv"):
        (folder / name).write_bytes((written / name).read_bytes())
    frame, curves = read_recorded(folder / "runs.csv")
    quality = measure_study(frame, QualityOptions(bootstrap=0), VOCABULARY, curves)
    write_tables(quality, frame, folder, curves=curves)
    assert all((folder / name).read_bytes() == (written / name).read_bytes() for name in ("runs.csv", "curves.csv"))
    write_tables(quality, frame, folder)
    assert not (folder / "curves.csv").exists(), "curves of another report do not stay"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"", "has no column run_id, dataset"),
        (b"\xff\xfe\x00", "is no table"),
        (b"\x1f\x8b\x08", "is no table"),
        (b'a,"b\n', "is no table"),
        (b"a,b\n1,2,3\n4\n", "has no column run_id, dataset, strategy and 31 more: give a file"),
        (",".join([*RUN_COLUMNS, "seed"]).encode() + b"\n", "has the column seed 2 times"),
        (",".join(RUN_COLUMNS).encode() + b"\n" + b"," * len(RUN_COLUMNS) + b"\n", "row 2: it has 35 cells, not 34"),
        (",".join(RUN_COLUMNS).encode() + b"\n", "holds no training"),
        (",".join(name for name in RUN_COLUMNS if name != "seed").encode() + b"\n", "has no column seed: give a file"),
    ],
)
def test_what_is_no_table_of_trainings_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_recorded(tmp_path / "runs.csv")
