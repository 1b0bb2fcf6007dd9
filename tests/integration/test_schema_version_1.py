"""A report over a study that the previous version tracked: its tags, params and metrics, from recorded rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from entry_points import Entry
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "reports/clothes-and-digits"
STRATEGIES, SEED = ("full", "epochs:5", "random:0.25"), "1"
# What the previous version logged as params of a training, beside what a row has.
HYPERPARAMETERS = {
    "arch": "xresnet50",
    "learning_rate": "0.003",
    "stem_channels_1": "32",
    "stem_channels_2": "32",
    "flip_probability": "0.5",
    "optimizer": "adam",
    "label_smoothing": "0.1",
    "batch_size": "64",
    "weight_decay": "0.01",
}
TAGS = ("dataset", "dataset_fingerprint", "strategy", "config", "config_group", "seed", "subset_fingerprint", "run_key")
METRICS = (
    *("best_valid_accuracy", "final_valid_accuracy", "best_epoch", "train_seconds", "setup_seconds", "wall_seconds"),
    *("examples_seen", "train_flops", "examples_per_second", "peak_memory_mb"),
    *("selection_train_seconds", "selection_examples_seen", "selection_train_flops"),
)


def recorded() -> list[dict[str, str]]:
    with (RECORDED / "runs.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["seed"] == SEED and row["strategy"] in STRATEGIES]
    assert len(rows) == 3 * 36 * 2
    return rows


def curves() -> dict[str, list[float]]:
    frame = pd.read_csv(RECORDED / "curves.csv").sort_values("epoch")
    column = "valid_accuracy" if "valid_accuracy" in frame else "objective"
    return {str(run): list(rows[column]) for run, rows in frame.groupby("run_id")}


def log(client: MlflowClient, experiment: str, row: Mapping[str, str], curve: list[float]) -> None:
    """A training as version 0.1.0 left it."""
    run = client.create_run(experiment, start_time=int(row["start_time"]), run_name=row["name"]).info.run_id
    tags = {f"proxyflow.{name}": row[name] for name in TAGS}
    tags |= {"proxyflow.kind": "training", "proxyflow.schema_version": "1", "proxyflow.status": "finished"}
    tags |= {"proxyflow.study": "old", "proxyflow.epochs": row["epochs"], "proxyflow.diverged": row["diverged"].lower()}
    hyperparameters = HYPERPARAMETERS | json.loads(row["config_json"])
    params = {**hyperparameters, "n_valid": row["n_valid"], "device": row["device"], "precision_used": row["precision"]}
    params["n_classes"] = "5" if "half-classes" in row["strategy"] else "10"
    found = [Metric(name, float(row[name]), 0, 0) for name in METRICS if row[name]]
    epochs = [Metric("valid_accuracy", value, 0, epoch) for epoch, value in enumerate(curve, start=1)]
    client.log_batch(
        run,
        [*found, *epochs],
        [Param(name, str(value)) for name, value in params.items()],
        [RunTag(name, value) for name, value in tags.items()],
    )
    client.set_terminated(run, end_time=int(row["end_time"]))


@pytest.fixture(scope="module")
def old_study(store: str) -> str:
    client = MlflowClient()
    experiment, epochs = client.create_experiment("old"), curves()
    for row in recorded():
        log(client, experiment, row, epochs.get(row["run_id"], []))
    return "old"


def test_the_report_is_that_of_the_recorded_rows(old_study: str, entry: Entry, tmp_path: Path) -> None:
    options = ("--cost-basis", "examples_seen", "--bootstrap", "20")
    done = entry("report", "--study", old_study, "--out", str(tmp_path), *options)
    assert done.status == 0, done.err
    subset = tmp_path / "recorded"
    subset.mkdir()
    rows = recorded()
    with (subset / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = entry("report", "--study", "again", "--out", str(tmp_path), "--runs", str(subset / "runs.csv"), *options)
    assert done.status == 0, done.err
    for table in ("strategies", "best", "hyperparameters", "policies", "comparisons"):
        tracked, again = (pd.read_csv(tmp_path / name / f"{table}.csv") for name in (old_study, "again"))
        assert len(tracked) > 0, table
        pd.testing.assert_frame_equal(tracked, again, rtol=1e-9, check_exact=False)
    runs = pd.read_csv(tmp_path / old_study / "runs.csv")
    assert set(runs["metric"]) == {"valid_accuracy"}
    assert (runs["objective"] == runs["best_valid_accuracy"]).all()
    # Neither was logged by these trainings.
    assert set(runs["chance_objective"]) == {0.1}
    assert runs["unranked"].notna().all()
    assert pd.read_csv(tmp_path / old_study / "strategies.csv")["steps"].notna().all()
    assert len(pd.read_csv(tmp_path / old_study / "epochs.csv")) == 20
