"""A plug-in trainer with a minimized metric and forty conditional hyperparameters goes through sweep and report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from entry_points import Entry
from mlflow.tracking import MlflowClient
from proxyflow_example.trainers import Surface
from scipy.stats import spearmanr

from proxyflow.trainers import trainers

DATA = ("--dataset", "digits")


@pytest.fixture(autouse=True)
def surface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trainers._items, "surface", Surface)


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Forty parameters, half of them in use only with one of two kinds."""
    parameters: dict[str, object] = {"kind": ["shallow", "deep"]}
    for number in range(20):
        parameters[f"width_{number}"] = {"low": 0.0, "high": 1.0}
    for number in range(19):
        parameters[f"depth_{number}"] = {"low": 0.01, "high": 1.0, "log": True, "when": {"kind": ["deep"]}}
    assert len(parameters) == 40
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(parameters, sort_keys=False))
    return path


def test_sweep_and_report_of_a_minimized_metric_over_forty_parameters(
    entry: Entry, space: Path, tmp_path: Path
) -> None:
    sweep = (
        *("--study", "surface", "--datasets", "digits", "--trainer", "surface", "--epochs", "4"),
        *("--grid", f"{space}@20", "--strategies", "full,random:0.25,epochs:1", "--trainer-settings", "noise=0.001"),
    )
    done = entry("sweep", *sweep)
    assert done.status == 0, done.err
    client = MlflowClient()
    experiment = client.get_experiment_by_name("surface")
    assert experiment is not None
    runs = client.search_runs(
        [experiment.experiment_id], "tags.`proxyflow.kind` = 'training' and tags.`proxyflow.strategy` = 'full'"
    )
    assert len(runs) == 20
    for run in runs:
        tags = run.data.tags
        assert tags["proxyflow.trainer"] == "surface"
        assert (tags["proxyflow.metric"], tags["proxyflow.goal"]) == ("valid_rmse", "minimize")
        configuration = json.loads(tags["proxyflow.config_json"])
        assert len(configuration) == (40 if configuration["kind"] == "deep" else 21)
        assert run.data.metrics["objective"] == run.data.metrics["final_valid_rmse"] > 1
        assert len(tags["proxyflow.config"]) <= 120
    assert entry("sweep", *sweep).out.count("(0 now)") == 1  # found by their keys
    done = entry("report", "--study", "surface", "--out", str(tmp_path), "--bootstrap", "50")
    assert done.status == 0, done.err
    table = pd.read_csv(tmp_path / "surface/strategies.csv").set_index("strategy")
    assert (table["n_pairs"] == 20).all()
    frame = pd.read_csv(tmp_path / "surface/runs.csv")
    wide = frame.pivot(index="config", columns="strategy", values="objective")
    expected = spearmanr(wide["random:0.25"], wide["full"]).statistic
    assert table.loc["random:0.25", "spearman_all"] == pytest.approx(expected, abs=1e-9)
    chosen = wide["random:0.25"].idxmin()
    assert table.loc["random:0.25", "regret"] == pytest.approx(wide.loc[chosen, "full"] - wide["full"].min(), abs=1e-9)
    best = pd.read_csv(tmp_path / "surface/best.csv").set_index("strategy")
    assert best.loc["full", "best_config"] == wide["full"].idxmin()
    page = (tmp_path / "surface/index.html").read_text()
    assert "accuracy" not in page.split("<body")[1].split("<script")[0].lower()
    assert np.isfinite(table["r2"]).all()


def test_train_takes_its_hyperparameters_from_config(entry: Entry) -> None:
    done = entry(
        "train", *DATA, "--trainer", "surface", "--config", '{"width": 0.5}', "--study", "one", "--epochs", "3"
    )
    assert done.status == 0, done.err
    assert "best rmse" in done.out
    refused = entry("train", *DATA, "--trainer", "surface", "--learning-rate", "0.1", "--study", "one")
    assert refused.status == 2
    assert "learning_rate" in refused.err


def test_what_a_trainer_cannot_do_is_refused_before_it_trains(entry: Entry) -> None:
    some = (*DATA, "--trainer", "surface", "--config", '{"width": 0.5}', "--study", "refused")
    for options, named in (
        (("--strategy", "easiest:0.25"), "surface"),
        (("--strategy", "distilled:1"), "distilled:1"),
        (("--save-model", "true"), "surface"),
        (("--resume-training", "true"), "resume_training"),
        (("--image-size", "32"), "image_size"),
        (("--trainer-settings", "depth=3"), "depth"),
    ):
        refused = entry("train", *some, *options)
        assert refused.status == 2, options
        assert named in refused.err
    assert entry("train", *DATA, "--trainer", "nobody").status == 2


def test_a_diverged_training_is_a_result(entry: Entry, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(yaml.safe_dump([{"width": w, "explode": w == 0.1} for w in (0.1, 0.2, 0.3, 0.4, 0.5)]))
    options = ("--datasets", "digits", "--trainer", "surface", "--epochs", "2", "--grid", str(grid))
    done = entry("sweep", "--study", "diverging", *options, "--strategies", "full,random:0.5")
    assert done.status == 0, done.err
    done = entry("report", "--study", "diverging", "--out", str(tmp_path), "--bootstrap", "0")
    assert done.status == 0, done.err
    table = pd.read_csv(tmp_path / "diverging/strategies.csv").set_index("strategy")
    assert table.loc["random:0.5", "n_pairs"] == 5
    assert table.loc["random:0.5", "n_missing"] == 0
    runs = pd.read_csv(tmp_path / "diverging/runs.csv")
    assert runs["diverged"].sum() == 2
    assert runs.loc[runs["diverged"], "objective"].isna().all()
