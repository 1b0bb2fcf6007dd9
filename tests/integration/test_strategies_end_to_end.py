"""Every registered strategy, from scores on the server to a subset and a training on it, on two data sets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from entry_points import SMALL, Entry
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from source_files import make_fashion_mnist

from proxyflow.core.files import sha256_of
from proxyflow.core.settings import settings_of
from proxyflow.data.images.sources.fashion_mnist import DEBIAN
from proxyflow.scores import known_scores
from proxyflow.strategies import parse_strategy, strategies

# One of each that needs something else, and of every score.
ARGUMENTS = {"F": "0.2", "N": "1", "K": "3", "LIST": "0+3+5", "a-b": "0.05-0.96"}
SPELLINGS = [
    cls.name + "".join(f":{ARGUMENTS[field.metadata['symbol']]}" for field in settings_of(cls)[:1])
    for cls in strategies.values()
    if not cls.synthetic
]
OPTIONS = [f"easiest:0.2,by={name}" for name in known_scores if name != "loss"]
OPTIONS += ["hardest:0.5,drop=0.05", "mix:0.2,balance=class", "k-center:0.2,balance=class"]
OPTIONS += ["easiest:0.1,by=el2n_epoch_2"]
RUN = re.compile(r"run ([0-9a-f]{32})")
FEW = "digits@300"


def runs_of(study: str, kind: str) -> list[Run]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`proxyflow.kind` = '{kind}'"))


@pytest.fixture(scope="module")
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options that name a data set; Fashion-MNIST is a made one where Debian's package is not installed."""
    if request.param == "digits" or DEBIAN.is_dir():
        return ("--dataset", FEW if request.param == "digits" else "fashion-mnist@600")
    folder = tmp_path_factory.mktemp("data")
    make_fashion_mnist(folder / "fashion-mnist", train=600, valid=60)
    return ("--dataset", "fashion-mnist", "--data-dir", str(folder))


@pytest.mark.parametrize("data", ["digits", pytest.param("fashion-mnist", marks=pytest.mark.slow)], indirect=True)
def test_every_strategy_is_materialized_and_trained_on(
    store: str, entry: Entry, data: tuple[str, ...], tmp_path: Path
) -> None:
    name = data[1].partition("@")[0]
    study = ("--study", name)
    scored = entry("score", *data, *SMALL, "--epochs", "3", "--holdout-folds", "2", *study)
    assert scored.status == 0, scored.err
    score_run = runs_of(name, "score")[0]
    held = score_run.data.tags["proxyflow.scores"].split(",")
    assert {*known_scores, "el2n_epoch_2", "embeddings", "confusion"} <= set(held)
    spellings = SPELLINGS + (OPTIONS if name == "digits" else [])
    for spelling in spellings:
        strategy = parse_strategy(spelling)
        made = entry("materialize", *data, "--strategy", spelling, *study)
        assert made.status == 0, (spelling, made.err)
        said = f"the latest are in run {score_run.info.run_id}" in made.err
        assert said == strategy.needs_scores, spelling
        found = RUN.search(made.out)
        assert found, made.out
        if spelling in SPELLINGS:
            trained = entry("train", *SMALL, "--epochs", "1", "--subset", found[1], *study)
            assert trained.status == 0, (spelling, trained.err)
    trainings = {run.data.tags["proxyflow.strategy"]: run for run in runs_of(name, "training")}
    subsets = {run.data.tags["proxyflow.strategy"]: run for run in runs_of(name, "subset")}
    assert len(trainings) == len(SPELLINGS)
    spent = json.loads(_artifact(score_run, "scores/summary.json", tmp_path))["cost"]
    for spelling in spellings:
        strategy = parse_strategy(spelling)
        subset, training = subsets[strategy.canonical], trainings.get(strategy.canonical)
        if training is not None:
            assert subset.data.metrics["n_train"] == float(training.data.params["n_train"])
        # The score run's cost is carried by the subset to whoever trains on it; folds are charged to
        # what comes from them, held-out scores and the confusion of the classes.
        by_folds = "heldout_loss" in spelling or "confusion" in strategy.needs
        parts = [] if not strategy.needs_scores else ["models", "folds"] if by_folds else ["models"]
        for charged in (run.data.metrics for run in (subset, training) if run is not None):
            assert charged["selection_examples_seen"] == sum(spent[part]["examples_seen"] for part in parts)
            assert charged["selection_train_seconds"] >= sum(spent[part]["train_seconds"] for part in parts)


@pytest.mark.pictures
def test_a_score_run_shows_what_it_found(store: str, entry: Entry, tmp_path: Path) -> None:
    made = entry("score", "--dataset", FEW, *SMALL, "--epochs", "2", "--repeats", "2", "--study", "seen")
    assert made.status == 0, made.err
    assert re.search(r"rank agreement of el2n between 2 repeats: 0\.\d{3}", made.err)
    run = runs_of("seen", "score")[0]
    assert -1 <= run.data.metrics["agreement_loss"] <= 1
    files = {Path(each.path).name for each in MlflowClient().list_artifacts(run.info.run_id, "scores/figures")}
    assert files == {"examples_loss.png", "histogram_loss.png", "class_balance_loss.png", "rank_correlation.png"}
    for name in files:
        path = MlflowClient().download_artifacts(run.info.run_id, f"scores/figures/{name}", str(tmp_path))
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    path = MlflowClient().download_artifacts(run.info.run_id, "scores/class_balance.csv", str(tmp_path))
    balance = pd.read_csv(path)
    cuts = balance.groupby(["score", "cut", "fraction"])
    assert (cuts["n"].sum() == [int(300 * fraction + 0.5) for _, _, fraction in cuts.groups]).all()
    correlations = pd.read_csv(
        MlflowClient().download_artifacts(run.info.run_id, "scores/rank_correlation.csv", str(tmp_path)), index_col=0
    )
    assert list(correlations.index) == list(correlations.columns)
    assert correlations.loc["loss", "loss"] == pytest.approx(1)


def _artifact(run: Run, path: str, folder: Path) -> str:
    return Path(MlflowClient().download_artifacts(run.info.run_id, path, str(folder))).read_text()


@pytest.fixture
def scored(store: str, entry: Entry) -> Run:
    assert entry("score", "--dataset", FEW, *SMALL, "--epochs", "1", "--study", "refused").status == 0
    return runs_of("refused", "score")[0]


def refusal(entry: Entry, run: Run, strategy: str = "easiest:0.1", dataset: str = FEW) -> str:
    arguments = ("--dataset", dataset, "--strategy", strategy, "--scores", run.info.run_id, "--study", "refused")
    ended = entry("materialize", *arguments)
    assert ended.status == 2, ended.err
    return ended.err


def test_scores_that_cannot_be_used_are_refused(entry: Entry, scored: Run, tmp_path: Path) -> None:
    run_id = scored.info.run_id
    client = MlflowClient()
    assert run_id in refusal(entry, scored, dataset="digits@200")
    assert "holdout_folds=5" in refusal(entry, scored, "easiest:0.1,by=heldout_loss")
    assert "score with early_epochs=9" in refusal(entry, scored, "easiest:0.1,by=el2n_epoch_9")
    table = Path(client.download_artifacts(run_id, "scores/scores.parquet", str(tmp_path)))
    frame = pd.read_parquet(table)
    frame.loc[:4, "loss"] = float("nan")
    frame.drop(columns="forgetting_events").to_parquet(table)
    client.log_artifact(run_id, str(table), "scores")
    summary = Path(client.download_artifacts(run_id, "scores/summary.json", str(tmp_path)))
    told = json.loads(summary.read_text())
    told["sha256"]["scores.parquet"] = sha256_of(table)
    summary.write_text(json.dumps(told))
    client.log_artifact(run_id, str(summary), "scores")
    assert "by=loss: 5 of 300 scores" in refusal(entry, scored)
    assert "that run did not keep" in refusal(entry, scored, "easiest:0.1,by=forgetting_events")
    client.set_tag(run_id, "proxyflow.status", "failed")
    assert "is failed, not finished" in refusal(entry, scored)


def test_impossible_requests_are_one_clear_line(entry: Entry, scored: Run) -> None:
    for strategy, value in (
        ("easiest-classes:11", "easiest-classes:11"),
        ("classes:3+12", "class 12"),
        ("hardest:0.97,drop=0.05", "drop=0.05"),
        ("slice:0.7-0.2", "0.7-0.2"),
        ("k-center:2", "=2"),
        ("easiest:0.1,by=difficulty", "by=difficulty"),
    ):
        said = refusal(entry, scored, strategy)
        assert value in said.splitlines()[-1]
        assert "Traceback" not in said
