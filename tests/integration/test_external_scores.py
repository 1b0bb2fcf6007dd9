"""Predictions of a model trained elsewhere become a score run, by which strategies choose for any trainer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from array_table import ArrayTable, TableSource
from entry_points import STUDY, Entry
from made_up import digits
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from proxyflow_example.trainers import Surface
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from proxyflow.data.images.store import images_of
from proxyflow.data.protocol import Contents, datasets
from proxyflow.trainers import trainers

COLUMNS = ("loss", "margin", "entropy", "least_confidence", "el2n", "gradient_norm_bound")


@pytest.fixture(autouse=True)
def surface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trainers._items, "surface", Surface)


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out probabilities of a logistic regression for all training examples, and some rows that are of no one."""
    train = images_of(digits().train)
    pixels = np.stack([train.image(position).ravel() for position in range(len(train))]) / 255
    model = LogisticRegression(max_iter=2000)
    probabilities = cross_val_predict(model, pixels, train.labels, cv=3, method="predict_proba")
    frame = pd.DataFrame(probabilities, columns=digits().class_names)
    frame.insert(0, "id", train.ids)
    frame = pd.concat([frame, frame.tail(3).assign(id=[90001, 90002, 90003])])
    path = tmp_path_factory.mktemp("predictions") / "predictions.parquet"
    frame.sample(frac=1, random_state=0).to_parquet(path)
    return path


def runs_of(study: str, kind: str) -> list[Run]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`proxyflow.kind` = '{kind}'"))


def score(entry: Entry, path: Path, *more: str, study: str) -> str:
    """Scores the predictions; returns the id of the run."""
    done = entry("score", "--predictions", str(path), "--study", study, *more)
    assert done.status == 0, done.err
    return done.out.split()[2].removesuffix(":")


@pytest.mark.pictures
def test_held_out_predictions_are_scored_once_and_choose_a_subset(
    entry: Entry, predictions: Path, tmp_path: Path
) -> None:
    done = entry(
        "score", "--predictions", str(predictions), "--held-out", "true", "--train-seconds", "12", "--study", "ext"
    )
    assert done.status == 0, done.err
    assert "3 rows" in done.err
    assert "warning" not in done.err
    (run,) = runs_of("ext", "score")
    assert {*COLUMNS, "heldout_loss", "confusion"} == {*run.data.tags["proxyflow.scores"].split(",")}
    assert run.data.tags["proxyflow.status"] == "finished"
    assert run.data.metrics["train_seconds"] == 12
    client = MlflowClient()
    folder = Path(client.download_artifacts(run.info.run_id, "scores", str(tmp_path)))
    summary = json.loads((folder / "summary.json").read_text())
    source = summary["predictions"]
    assert (source["kind"], source["held_out"], source["ignored_rows"]) == ("probabilities", True, 3)
    assert (source["file"], len(source["sha256"])) == (str(predictions), 64)
    assert "forgetting_events" in summary["left_out"]
    assert summary["correct"] > 0.8
    assert (folder / "figures/histogram_loss.png").exists()
    table = pd.read_parquet(folder / "scores.parquet").set_index("example_id")
    given = pd.read_parquet(predictions).set_index("id").loc[table.index]
    own = given.to_numpy()[np.arange(len(table)), table["label"]]
    np.testing.assert_allclose(table["heldout_loss"], -np.log(own / given.sum(axis=1)), rtol=1e-9, atol=1e-12)

    # Another file of the same predictions.
    again = tmp_path / "same.csv"
    pd.read_parquet(predictions).sort_values("id").to_csv(again, index=False)
    held_out = ("--held-out", "true", "--train-seconds", "12")
    assert score(entry, again, *held_out, study="ext") == run.info.run_id
    assert len(runs_of("ext", "score")) == 1

    done = entry("materialize", "--strategy", "easiest:0.25", "--study", "ext")
    assert done.status == 0, done.err
    (subset,) = runs_of("ext", "subset")
    assert subset.data.tags["proxyflow.score_run"] == run.info.run_id
    assert subset.data.metrics["selection_train_seconds"] > 12
    assert "selection_examples_seen" not in subset.data.metrics
    folder = Path(client.download_artifacts(subset.info.run_id, "subset", str(tmp_path)))
    chosen = pd.concat([pd.read_parquet(path) for path in folder.glob("train-*.parquet")])
    assert {*chosen["example_id"]} == {*table["loss"].nsmallest(324).index}
    # What a training needs is all in the files, an unknown part of the cost included.
    done = entry("train", "--subset", subset.info.run_id, *WITH_SURFACE, "--config", '{"width": 0.5}', "--study", "ext")
    assert done.status == 0, done.err


WITH_SURFACE = ("--trainer", "surface", "--epochs", "2")


def test_in_sample_predictions_are_warned_of(entry: Entry, predictions: Path) -> None:
    done = entry("score", "--predictions", str(predictions), "--study", "in-sample")
    assert done.status == 0, done.err
    assert "warning: in-sample predictions are optimistic" in done.err
    (run,) = runs_of("in-sample", "score")
    assert "heldout_loss" not in run.data.tags["proxyflow.scores"]
    assert run.data.params["held_out"] == "false"
    assert "train_seconds" not in run.data.metrics


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump([{"width": width} for width in (0.1, 0.2, 0.3, 0.4, 0.5)]))
    return path


def test_a_sweep_of_a_trainer_without_model_access_uses_them(
    entry: Entry, predictions: Path, grid: Path, tmp_path: Path
) -> None:
    data = "digits@400"  # a data set without scores until now
    sweep = (*WITH_SURFACE, "--datasets", data, "--grid", str(grid), "--study", "own")
    chosen = ("--strategies", "full,easiest:0.25,mix:0.5,slice:0.25-0.75,hardest:0.5,drop=0.1")
    for more in ((), ("--dry-run", "true"), ("--scores", "latest")):
        refused = entry("sweep", *sweep, *chosen, *more)
        assert refused.status == 2
        assert "surface" in refused.err
        assert f"dataset={data} predictions=FILE" in refused.err
    refused = entry("sweep", *sweep, "--strategies", "full,k-center:0.25")
    assert refused.status == 2
    assert "embeddings" in refused.err
    assert "predictions=FILE" not in refused.err
    assert MlflowClient().get_experiment_by_name("own") is None or not runs_of("own", "study")

    every = np.random.default_rng(0).normal(size=(1797, 10))
    np.save(tmp_path / "first.npy", every)
    np.save(tmp_path / "second.npy", -every)
    first = score(entry, tmp_path / "first.npy", "--dataset", data, study="own")
    planned = entry("sweep", *sweep, *chosen, "--dry-run", "true")
    assert planned.status == 0, planned.err
    assert first in planned.out
    done = entry("sweep", *sweep, *chosen)
    assert done.status == 0, done.err
    assert "(25 now)" in done.out
    assert {
        run.data.tags["proxyflow.score_run"]
        for run in runs_of("own", "subset")
        if "proxyflow.score_run" in run.data.tags
    } == {first}
    assert "(0 now)" in entry("sweep", *sweep, *chosen).out
    # Newer scores choose other subsets; the first ones can still be named, in a study file too.
    second = score(entry, tmp_path / "second.npy", "--dataset", data, study="own")
    assert "(0 now)" in entry("sweep", *sweep, *chosen, "--scores", first).out
    file = tmp_path / "own.yaml"
    options = {
        "datasets": data,
        "trainer": "surface",
        "epochs": 2,
        "grid": "grid.yaml",
        "strategies": ["full", "easiest:0.25"],
    }
    file.write_text(yaml.safe_dump({**options, "scores": first}))
    assert "(0 now)" in entry("sweep", "--study", str(file)).out
    file.write_text(yaml.safe_dump(options))
    done = entry("sweep", "--study", str(file))
    assert "(5 now)" in done.out
    assert second in done.err
    done = entry("report", "--study", "own", "--out", str(tmp_path), "--bootstrap", "0")
    assert done.status == 0, done.err


def test_a_score_run_that_a_sweep_names_must_be_of_its_data(entry: Entry, predictions: Path, grid: Path) -> None:
    run = score(entry, predictions, study="named")
    sweep = (*WITH_SURFACE, "--grid", str(grid), "--strategies", "full,easiest:0.25", "--study", "named")
    for names, scores in (("digits@400", run), ("digits,digits@400", run), ("digits", "0" * 32)):
        refused = entry("sweep", *sweep, "--datasets", names, "--scores", scores)
        assert refused.status == 2
        assert f"scores={scores}" in refused.err
    assert MlflowClient().get_experiment_by_name("named") is None


def test_a_sweep_of_images_uses_them_where_they_are_named(entry: Entry, predictions: Path, grid_file: Path) -> None:
    run = score(entry, predictions, study="images")
    options = ("--grid", str(grid_file), "--strategies", "full,easiest:0.25", "--epochs", "1", "--study", "images")
    for scores, models, state in ((run, "0", f"run {run}"), ("latest", "0", f"run {run}"), ("auto", "1", "to do")):
        done = entry("sweep", *STUDY, *options, "--scores", scores, "--dry-run", "true")
        assert done.status == 0, done.err
        assert done.out.splitlines()[1].split()[:2] == ["digits", models]
        assert done.out.splitlines()[1].endswith(state)


def test_data_that_no_model_here_can_read_are_chosen_from(
    entry: Entry, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(1800) % 3
    contents = Contents(("cat", "dog", "owl"), ArrayTable.made_up(labels), None)
    monkeypatch.setitem(datasets._items, "rows", TableSource(contents))
    rows = ("--dataset", "rows", "--study", "rows")
    refused = entry("materialize", *rows, "--strategy", "mix:0.25")
    assert refused.status == 2
    assert "predictions=FILE" in refused.err
    # In the order of the source, validation rows included.
    values = 3 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(1800, 3))
    np.save(tmp_path / "rows.npy", values)
    run = score(entry, tmp_path / "rows.npy", *rows[:2], "--held-out", "true", study="rows")
    for strategy in ("easiest:0.25,by=heldout_loss", "mix:0.25", "easiest-classes:2"):
        done = entry("materialize", *rows, "--strategy", strategy)
        assert done.status == 0, done.err
    assert {each.data.tags["proxyflow.score_run"] for each in runs_of("rows", "subset")} == {run}
    strategies = ("--strategies", "full,easiest:0.25,by=heldout_loss,slice:0.25-0.75")
    done = entry("sweep", *WITH_SURFACE, "--datasets", "rows", *strategies, "--grid", str(grid), "--study", "rows")
    assert done.status == 0, done.err
    assert "(15 now)" in done.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--epochs", "3"), "epochs=3"),
        (("--repeats", "2"), "repeats=2"),
        (("--holdout-folds", "5"), "holdout_folds=5"),
        (("--early-epochs", "1"), "early_epochs=1"),
        (("--trainer", "surface"), "trainer=surface"),
        (("--arch", "xresnet18"), "arch=xresnet18"),
        (("--image-size", "16"), "image_size=16"),
        (("--seed", "1"), "seed=1"),
        (("--save-model", "true"), "save_model"),
        (("--prediction-kind", "odds"), "prediction_kind=odds"),
        (("--prediction-kind", "logits", "--train-seconds", "-1"), "train_seconds=-1"),
        (("--dataset", "digits@400", "--prediction-kind", "probabilities", "--predictions", "none.csv"), "none.csv"),
    ],
)
def test_options_of_trainings_are_refused(
    options: tuple[str, ...], named: str, entry: Entry, predictions: Path
) -> None:
    refused = entry("score", "--predictions", str(predictions), "--study", "refused", *options)
    assert refused.status == 2
    assert named in refused.err


def test_declarations_without_predictions_are_refused(entry: Entry) -> None:
    for options in (("--held-out", "true"), ("--prediction-kind", "logits"), ("--train-seconds", "3")):
        refused = entry("score", "--study", "refused", *options)
        assert refused.status == 2
        assert options[0].removeprefix("--").replace("-", "_") in refused.err
