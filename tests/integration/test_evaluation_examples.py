"""Validation and test examples through the commands: in subsets, trainings, study files and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from entry_points import SMALL, Entry
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from proxyflow.tracking.queries.histories import METRICS

ID = re.compile(r"run ([0-9a-f]{32})")
STUDY = """
datasets: [digits]
strategies: [full, "half-classes:0.5"]
grid: [{arch: xresnet10-w16}, {arch: xresnet10-w16, learning_rate: 0.01}]
epochs: 2
image_size: 8
batch_size: 128
valid_examples: 200
test_examples: 60
"""


def trainings(experiment: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], "tags.`proxyflow.kind` = 'training'"))


def test_a_subset_brings_its_test_examples_to_another_machine(entry: Entry, store: str) -> None:
    options = ("--valid-examples", "300", "--test-examples", "100")
    made = entry("materialize", "--strategy", "random:0.1", *options)
    assert made.status == 0, made.err
    subset = ID.findall(made.out)[0]
    client = MlflowClient()
    assert {"subset/test-00000.parquet"} <= {file.path for file in client.list_artifacts(subset, "subset")}
    assert [client.get_run(subset).data.params[name] for name in ("n_valid", "n_test")] == ["300", "100"]
    before = len(trainings("Default"))
    for option, number in (("valid_examples", "200"), ("test_examples", "70"), ("valid_examples", "400")):
        other = entry("train", "--subset", subset, *SMALL, "--epochs", "1", f"--{option}", number)
        assert other.status == 2
        assert f"{option}={number} is not accepted" in other.err
        assert f"subset={subset} has {'300' if option == 'valid_examples' else '100'}" in other.err
    assert len(trainings("Default")) == before
    # Defaults ask for nothing, and the numbers that it has may be repeated.
    same = entry("train", "--subset", subset, *SMALL, "--epochs", "1", *options)
    assert same.status == 0, same.err
    trained = entry("train", "--subset", subset, *SMALL, "--epochs", "1")
    assert trained.status == 0, trained.err
    run = client.get_run(ID.findall(trained.out)[0])
    assert [run.data.params[name] for name in ("n_valid", "n_test")] == ["300", "100"]
    hits = run.data.metrics["test_accuracy"] * 100
    assert hits == pytest.approx(round(hits))
    assert len(client.get_metric_history(run.info.run_id, "test_accuracy")) == 1


def test_a_subset_of_some_classes_may_be_asked_for_as_it_was_made(entry: Entry, store: str) -> None:
    made = entry("materialize", "--strategy", "half-classes:0.5", "--valid-examples", "300")
    assert made.status == 0, made.err
    subset = ID.findall(made.out)[0]
    again = ("train", "--subset", subset, *SMALL, "--epochs", "1")
    assert entry(*again, "--valid-examples", "300").status == 0
    for option, number in (("valid-examples", "100"), ("test-examples", "70")):
        assert entry(*again, f"--{option}", number).status == 2


def test_a_study_is_judged_as_its_file_says_and_its_report_has_every_epoch(
    entry: Entry, store: str, tmp_path: Path
) -> None:
    path = tmp_path / "held-out.yaml"
    path.write_text(STUDY, encoding="utf-8")
    ended = entry("sweep", "--study", str(path))
    assert ended.status == 0, ended.err
    runs = trainings("held-out")
    counts = {run.data.tags["proxyflow.strategy"]: run.data.params for run in runs}
    assert [counts["full"][name] for name in ("n_valid", "n_test")] == ["200", "60"]
    assert [counts["half-classes:0.5"][name] for name in ("n_valid", "n_test")] == ["100", "30"]
    assert all(0 <= run.data.metrics["test_accuracy"] <= 1 for run in runs)
    again = entry("sweep", "--study", str(path), "--dry-run", "true")
    assert "4 runs, 0 to do" in again.out
    path.write_text(STUDY.replace("60", "40"), encoding="utf-8")
    other = entry("sweep", "--study", str(path), "--dry-run", "true")
    assert "4 runs, 4 to do" in other.out, "what judges a training is part of what it is"

    reported = entry("report", "--study", "held-out", "--out", str(tmp_path), "--bootstrap", "0")
    assert reported.status == 0, reported.err
    table = pd.read_csv(tmp_path / "held-out" / "runs.csv").set_index("run_id")
    curves = pd.read_csv(tmp_path / "held-out" / "curves.csv")
    assert len(curves) == 4 * 2
    client = MlflowClient()
    for run in runs:
        row, run_id = table.loc[run.info.run_id], run.info.run_id
        assert row["test_accuracy"] == run.data.metrics["test_accuracy"]
        assert (row["n_valid"], row["n_test"]) == (int(run.data.params["n_valid"]), int(run.data.params["n_test"]))
        assert row["final_valid_loss"] == run.data.metrics["valid_loss"]
        assert row["final_train_loss"] == run.data.metrics["train_loss"]
        own = curves[curves["run_id"] == run_id]
        assert set(own["strategy"]) == {run.data.tags["proxyflow.strategy"]}
        for metric, column in zip(("valid_accuracy", *METRICS[1:]), METRICS, strict=True):
            logged = [(each.step, each.value) for each in client.get_metric_history(run_id, metric)]
            assert [step for step, _ in logged] == own["epoch"].tolist()
            # Losses are written in single precision.
            assert own[column].tolist() == pytest.approx([value for _, value in logged], rel=1e-6)
            assert json.loads(run.data.tags["proxyflow.curves"])[metric] == [value for _, value in logged]
    assert (tmp_path / "held-out" / "noise.csv").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--valid-examples", "1500"], "valid_examples=1500"),
        (["--test-examples", "900"], "test_examples=900"),
        (["--test-examples", "5"], "test_examples=5"),
        (["--valid-examples", "none"], "valid_examples=none"),
    ],
)
def test_what_a_data_set_has_not_ends_with_status_2_and_no_run(
    entry: Entry, store: str, options: list[str], said: str
) -> None:
    before = len(MlflowClient().search_runs(["0"]))
    ended = entry("train", *SMALL, "--epochs", "1", *options)
    assert ended.status == 2
    assert ended.err.splitlines()[-1].startswith(f"error: {said} is not accepted")
    assert len(MlflowClient().search_runs(["0"])) == before
