"""Proxies that reduce in several ways, from a study file to the tables: one spelling in tags, keys and reports."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from entry_points import Entry
from mlflow.tracking import MlflowClient

GRID = """
base: {arch: xresnet10-w16, batch_size: 32}
configurations: [{}, {learning_rate: 0.02}, {optimizer: sgd}, {arch: xresnet18-w16}]
"""
STUDY = """
datasets: [digits@200]
strategies: [full, size:8 + random:0.5, "batch:8,scale=sqrt+random:.5", width:0.5+size:8, "curriculum:0.5,pace=root", "curriculum:0.5,order=random"]
grid: grid.yaml
epochs: 2
image_size: 16
precision: fp32
"""
CANONICAL = {
    "full",
    "random:0.5+size:8",
    "random:0.5+batch:8,scale=sqrt",
    "size:8+width:0.5",
    "curriculum:0.5,pace=root",
    "curriculum:0.5,order=random",
}


def trainings_of(study: str) -> pd.DataFrame:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.`proxyflow.kind` = 'training'")
    return pd.DataFrame(
        [
            {"strategy": run.data.tags["proxyflow.strategy"], "config": run.data.tags["proxyflow.config"]}
            | {f"param {name}": value for name, value in run.data.params.items()}
            | dict(run.data.metrics)
            for run in found
        ]
    )


def test_a_study_of_compositions(store: str, entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    (tmp_path / "joined.yaml").write_text(STUDY)
    file = str(tmp_path / "joined.yaml")
    planned = entry("sweep", "--study", file, "--dry-run", "true")
    assert planned.status == 0, planned.err
    assert set(planned.out.split()) >= CANONICAL
    ended = entry("sweep", "--study", file)
    assert ended.status == 0, ended.err
    assert "24 finished (24 now)" in ended.out
    again = entry("sweep", "--study", file)
    assert "24 finished (0 now)" in again.out

    runs = trainings_of("joined")
    assert set(runs["strategy"]) == CANONICAL
    assert set(runs.groupby("strategy").size()) == {4}
    assert runs.groupby("config")["strategy"].nunique().eq(len(CANONICAL)).all(), "runs are paired by configuration"
    means = runs.groupby("strategy")[["steps", "examples_seen", "train_flops"]].mean()
    full = means.loc["full"]
    assert means.loc["size:8+width:0.5", "steps"] == full["steps"]
    assert means.loc["random:0.5+batch:8,scale=sqrt", "steps"] >= 2 * full["steps"] * 0.9
    for name in ("curriculum:0.5,pace=root", "curriculum:0.5,order=random", "random:0.5+size:8"):
        assert means.loc[name, "steps"] == pytest.approx(full["steps"] / 2, abs=1)
    assert (runs["steps"] == runs["param steps"].astype(float)).all()
    by_strategy = runs.set_index("strategy")
    assert set(by_strategy.loc["size:8+width:0.5", "param image_size"]) == {"8"}
    assert set(by_strategy.loc["size:8+width:0.5", "param width"]) == {"0.5"}
    assert set(by_strategy.loc["full", "param width"]) == {"1.0"}
    assert set(by_strategy.loc["random:0.5+batch:8,scale=sqrt", "param batch_size"]) == {"8"}
    # The curriculum by scores pays for them, its control does not.
    charged = by_strategy["selection_examples_seen"].groupby(level=0).max()
    assert charged["curriculum:0.5,pace=root"] > 0
    assert not charged["curriculum:0.5,order=random"] > 0

    out = tmp_path / "report"
    reported = entry(
        "report", "--study", "joined", "--out", str(out), "--bootstrap", "20", "--cost-basis", "train_flops"
    )
    assert reported.status == 0, reported.err
    table = pd.read_csv(out / "joined" / "strategies.csv").set_index("strategy")
    assert set(table.index) == CANONICAL
    assert table.loc["size:8+width:0.5", "family"] == "Combinations"
    assert table.loc["curriculum:0.5,order=random", "family"] == "Curriculum"
    assert (table["relative_cost"].drop("full") < 1).all()
    assert table["steps"].notna().all()


RUN = re.compile(r"run ([0-9a-f]{32})")
IMAGES = ("--arch", "xresnet10-w16", "--image-size", "16", "--precision", "fp32", "--epochs", "1", "--batch-size", "32")
DATA = ("--dataset", "digits@200", "--study", "materialized")


def test_reductions_on_a_subset_that_is_there_are_checked_as_on_a_data_set(store: str, entry: Entry) -> None:
    def subset_of(strategy: str) -> str:
        made = entry("materialize", *DATA, "--strategy", strategy)
        assert made.status == 0, made.err
        found = RUN.search(made.out)
        assert found, made.out
        return found[1]

    chosen, ranked = subset_of("random:0.5"), subset_of("curriculum:0.5,order=random")
    own = ("--trainer", "python:user_functions:fit", "--metric", "valid_loss", "--config", '{"width": 0.5}')
    trained = entry("train", "--subset", chosen, "--study", "materialized", *IMAGES, "--strategy", "size:8+batch:8")
    assert "random:0.5+size:8+batch:8" in trained.out, trained.err
    other = entry(
        "train", "--subset", ranked, "--study", "materialized", *IMAGES, "--strategy", "curriculum:0.25,order=random"
    )
    assert "curriculum:0.25,order=random" in other.out, other.err
    for run, strategy, words in (
        (chosen, "size:32", IMAGES),
        (chosen, "batch:64", IMAGES),
        (chosen, "random:0.25", IMAGES),
        (ranked, "full", own),
        (chosen, "batch:8", own),
    ):
        refused = entry("train", "--subset", run, "--study", "materialized", *words, "--strategy", strategy)
        assert refused.status == 2, (strategy, refused.out, refused.err)
        assert "Traceback" not in refused.err


def test_saved_weights_are_described_as_they_are(store: str, entry: Entry, tmp_path: Path) -> None:
    words = ("--strategy", "width:0.5+batch:16,scale=linear", "--save-model", "true")
    made = entry("train", *DATA, *IMAGES, "--arch", "xresnet18-w16", *words)
    found = RUN.search(made.out)
    assert found, made.err
    path = MlflowClient().download_artifacts(found[1], "weights/model.json", str(tmp_path))
    told = json.loads(Path(path).read_text())
    assert (told["width"], told["proxy"]) == (0.5, "width:0.5+batch:16,scale=linear")
    assert told["hyperparameters"]["batch_size"] == 16
    assert told["hyperparameters"]["learning_rate"] == 0.0015


PROGRAM = """
import json, os, sys
from pathlib import Path
words = sys.argv[1:]
size = int(words[words.index("--size") + 1]) if "--size" in words else 100
output = Path(os.environ["PROXYFLOW_OUTPUT"])
lines = [{"epoch": epoch, "valid_accuracy": min(.9, size / 200 + epoch / 10)} for epoch in (1, 2)]
(output / "metrics.jsonl").write_text("\\n".join(map(json.dumps, lines)))
print("words", words)
"""


def test_a_program_takes_what_a_proxy_reduces(store: str, entry: Entry, tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(PROGRAM)
    command = f"{sys.executable} {script} --lr {{lr}} --size {{size}} --epochs {{epochs}}"
    words = ("--dataset", "digits@200", "--trainer", "program", "--program", command, "--metric", "valid_accuracy")
    words += ("--config", json.dumps({"lr": 0.1}), "--epochs", "2", "--study", "own")
    for strategy, accuracy in (("size:20", 0.3), ("full", 0.7), ("random:0.5+size:40", 0.4)):
        ended = entry("train", *words, "--strategy", strategy)
        assert ended.status == 0, ended.err
        assert f"best valid_accuracy {accuracy:.4f}" in ended.out or f"best accuracy {accuracy:.4f}" in ended.out
    refused = entry("train", *words, "--strategy", "width:0.5")
    assert refused.status == 2
    assert "data, epochs, size" in refused.err
