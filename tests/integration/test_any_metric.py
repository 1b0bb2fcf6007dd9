"""A report of a store: of a metric that is minimized, of trainings by the previous version, and of both in one study."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import values_of
from mlflow.entities import Metric as Logged
from mlflow.entities import Param, RunTag
from mlflow.tracking import MlflowClient

from proxyflow.reporting.run import ReportOptions, make_report, remake_report
from proxyflow.reporting.tables import read_tables
from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.tracking import names
from proxyflow.tracking.connection import connect
from proxyflow.tracking.queries.curve_tag import tag_of
from proxyflow.tracking.queries.reader import trainings
from proxyflow.tracking.runs.writer import RunWriter

PILOT = Path(__file__).parents[2] / "reports" / "clothes-and-digits" / "pilot" / "runs.csv"
RMSE = Metric("rmse", "minimize", "last")
EPOCHS = 3
COSTS = {"full": 1.0, "random:0.5": 0.5, "random:0.1": 0.1}


def log_run(client: MlflowClient, experiment: str, tags: dict[str, str], values: dict[str, float], **more: Any) -> str:
    """One finished training with these tags and final values."""
    run_id = str(client.create_run(experiment).info.run_id)
    metrics = [Logged(name, value, 0, 0) for name, value in values.items()] + list(more.get("epochs", ()))
    params = [Param(name, str(value)) for name, value in more.get("params", {}).items()]
    client.log_batch(run_id, metrics, params, [RunTag(name, value) for name, value in tags.items()])
    client.set_terminated(run_id)
    return run_id


def tags_of(**values: str) -> dict[str, str]:
    own = {names.KIND: "training", names.STATUS: "finished", names.DATASET_FINGERPRINT: "f" * 64}
    return own | {f"{names.PREFIX}{name}": value for name, value in values.items()}


def fill(client: MlflowClient, experiment: str, count: int = 18) -> pd.DataFrame:
    """A study whose trainings are judged by their last RMSE; one diverged, and one by another metric."""
    rng = np.random.default_rng(2)
    metric = {names.METRIC: RMSE.name, names.GOAL: RMSE.goal, names.METRIC_JSON: RMSE.to_json()}
    rows = []
    quality = rng.normal(size=count)
    for strategy, cost in COSTS.items():
        for number in range(count):
            end = 1200 + 100 * float(quality[number] + (1 - cost) * rng.normal())
            curve = [end * (1 + 0.5 / epoch) for epoch in range(1, EPOCHS)] + [end]
            config = {"depth": number % 3, "rate": 10.0 ** -(number // 3)}
            label = {"config": f"c{number:02d}", "config_group": "other", "config_json": json.dumps(config)}
            tags = tags_of(
                dataset="houses", strategy=strategy, seed="0", epochs=str(EPOCHS), trainer="program", **label
            )
            diverged = (strategy, number) == ("random:0.1", 4)
            costs = {"examples_seen": 1e6 * cost, "train_seconds": 100 * cost}
            tags |= {**metric, names.DIVERGED: str(diverged).lower(), names.RUN_KEY: f"{strategy} {number}"}
            # Half of the trainings have their curve in a tag, half in their metrics alone.
            if number % 2:
                tags[names.CURVES] = str(tag_of({"rmse": curve}, "rmse"))
            epochs = [Logged("rmse", value, 0, epoch) for epoch, value in enumerate(curve, start=1)]
            values = costs if diverged else {**costs, names.OBJECTIVE: end}
            log_run(client, experiment, tags, values, epochs=() if diverged else epochs)
            rows.append({"strategy": strategy, "config": label["config"], "rmse": np.nan if diverged else end})
    other = tags_of(dataset="houses", strategy="full", seed="1", config="c00", config_group="other")
    log_run(client, experiment, other, {"best_valid_accuracy": 0.5})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def minimized(store: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    client = connect()
    logged = fill(client, client.create_experiment("houses"))
    out = tmp_path_factory.mktemp("report")
    options = ReportOptions(out=str(out), bootstrap=200, min_accuracy=1250.0, tolerance=50.0)
    return logged, make_report(client, RunWriter(client, "houses"), options).page


def test_a_minimized_metric_is_shown_in_its_own_values(minimized: tuple[pd.DataFrame, Path]) -> None:
    logged, page = minimized
    tables = read_tables(page.parent)
    runs = tables["runs"].merge(logged, on=["strategy", "config"])
    judged = runs[runs["metric"] == "rmse"]
    assert len(judged) == len(logged)
    assert (judged["objective"] - judged["rmse"]).abs().max() == 0
    assert set(judged["trainer"]) == {"program"}
    target = logged[logged["strategy"] == "full"].set_index("config")["rmse"]
    [best] = tables["best_configurations"].to_dict("records")
    assert (best["config"], best["objective"]) == (target.idxmin(), target.min())
    for row in tables["best"].to_dict("records"):
        assert row["regret"] == pytest.approx(target[row["best_config"]] - target.min())
        assert row["target_best_objective"] == target.min()
    assert {"depth", "rate"} == set(tables["hyperparameters"]["hyperparameter"])


def test_a_training_that_diverged_counts_as_the_worst_of_its_strategy(minimized: tuple[pd.DataFrame, Path]) -> None:
    logged, page = minimized
    tables = read_tables(page.parent)
    row = tables["strategies"].set_index("strategy").loc["random:0.1"]
    assert (row["n_pairs"], row["n_missing"]) == (18, 0)
    wide = logged.pivot(index="config", columns="strategy", values="rmse")
    filled = wide["random:0.1"].fillna(wide["random:0.1"].max())
    assert row["r2"] == pytest.approx(np.corrcoef(filled, wide["full"])[0, 1] ** 2, abs=1e-9)
    notes = " ".join(tables["notes"]["note"])
    assert "1 training(s) diverged" in notes
    assert "their metric is not rmse" in notes


def test_every_epochs_value_is_found_in_tags_and_in_metrics(minimized: tuple[pd.DataFrame, Path]) -> None:
    logged, page = minimized
    curves = read_tables(page.parent)["curves"]
    last = curves[curves["epoch"] == EPOCHS].set_index(["strategy", "config"])["objective"]
    expected = logged.dropna().set_index(["strategy", "config"])["rmse"]
    pd.testing.assert_series_equal(last.sort_index(), expected.sort_index(), check_names=False)
    epochs = read_tables(page.parent)["epochs"].set_index("epoch")
    assert epochs.loc[EPOCHS, "correlation"] == pytest.approx(1)


def test_the_page_has_no_word_of_shares(minimized: tuple[pd.DataFrame, Path]) -> None:
    _, page = minimized
    html = page.read_text(encoding="utf-8")
    shown = re.sub(r"<script.*?</script>|<style.*?</style>|data:image[^\"]*|min_accuracy", "", html, flags=re.DOTALL)
    assert not re.search(r"accurac|\bpoints of\b|regret, points|standard error", shown, re.IGNORECASE)
    assert "rmse on the proxy of at most 1250.0" in shown
    assert "regret, rmse" in shown.lower()
    assert "lower is better" in html
    assert not (page.parent / "noise.csv").read_text().splitlines()[1:]
    figures = page.parent / "figures"
    assert {"proxy_against_target.png", "regret_by_cost.svg", "epochs.svg"} <= {path.name for path in figures.iterdir()}


def test_the_same_report_is_made_of_its_files(minimized: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    _, page = minimized
    options = ReportOptions(out=str(tmp_path), bootstrap=200, min_accuracy=1250.0, tolerance=50.0)
    again = remake_report(page.parent / "runs.csv", "houses", options)
    for path in page.parent.glob("*.csv"):
        assert (again.page.parent / path.name).read_bytes() == path.read_bytes(), path.name


def test_trainings_by_the_previous_version_give_the_report_that_they_gave(store: str, tmp_path: Path) -> None:
    """Tags, params and metrics of schema version 1, filled from the recorded rows of a study."""
    client = connect()
    experiment = client.create_experiment("previous")
    with PILOT.open(newline="") as file:
        rows = list(csv.DictReader(file))
    tags = ("dataset", "strategy", "config", "config_group", "seed", "subset_fingerprint", "run_key", "epochs")
    metrics = ("best_valid_accuracy", "train_seconds", "examples_seen", "train_flops", "selection_examples_seen")
    for row in rows:
        own = tags_of(**{name: row[name] for name in tags}, diverged=row["diverged"].lower(), schema_version="1")
        own[names.DATASET_FINGERPRINT] = row["dataset_fingerprint"]
        params = {**json.loads(values_of(row["config"])), "n_valid": row["n_valid"], "batch_size": 64}
        values = {name: float(row[name]) for name in metrics if row[name]}
        log_run(client, experiment, own, values, params=params)
    options = ReportOptions(out=str(tmp_path / "server"), bootstrap=50, cost_basis="examples_seen")
    from_server = read_tables(make_report(client, RunWriter(client, "previous"), options).page.parent)
    options = ReportOptions(out=str(tmp_path / "files"), bootstrap=50, cost_basis="examples_seen")
    from_files = read_tables(remake_report(PILOT, "previous", options).page.parent)
    assert len(from_server["runs"]) == len(rows)
    for name in ("strategies", "measures", "policies", "ceiling", "noise", "best"):
        if name == "best":  # the file has no configurations, so none of them is the default
            from_server[name] = from_server[name].drop(columns="target_default_objective")
            from_files[name] = from_files[name].drop(columns="target_default_objective")
        if "steps" in from_server[name]:  # nor has it their batch sizes
            assert from_server[name].pop("steps").notna().all()
            assert from_files[name].pop("steps").isna().all()
        pd.testing.assert_frame_equal(from_server[name], from_files[name])
    assert set(from_server["hyperparameters"]["hyperparameter"]) >= {"learning_rate", "optimizer"}
    found = trainings(client, [experiment])
    assert set(found["metric"]) == {ACCURACY.name}
    assert json.loads(found["config_json"].iloc[0])["batch_size"] == 64
