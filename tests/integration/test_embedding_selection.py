"""Embeddings of a file through the real entry points: nothing is trained, and the file's content decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from entry_points import STUDY, Entry
from image_training import planned_of, spec_of
from mlflow.tracking import MlflowClient

STRATEGY = "prototypes:0.1,embeddings=file:{},embedding_seconds=50"


def embeddings_of(n: int, folder: Path, seed: int = 0) -> Path:
    path = folder / "embeddings.npy"
    np.save(path, np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32))
    return path


def test_a_subset_is_materialized_without_a_model(entry: Entry, tmp_path: Path) -> None:
    path = embeddings_of(100, tmp_path)
    made = entry("materialize", "--dataset", "digits@100", "--strategy", STRATEGY.format(path))
    assert made.status == 0, made.err
    client = MlflowClient()
    run = client.get_run(made.out.split("run ", 1)[1].split(":", 1)[0])
    assert run.data.tags["proxyflow.strategy"] == STRATEGY.format(path).replace("=50", "=50.0")
    assert run.data.metrics["n_train"] == 10
    assert 50 < run.data.metrics["selection_train_seconds"] < 100
    found = client.search_runs([run.info.experiment_id])
    assert {each.data.tags["proxyflow.kind"] for each in found} == {"subset"}


@pytest.mark.parametrize(("n", "rule"), [(0, "no such file"), (99, "it has 99 rows")])
def test_a_wrong_file_is_refused_in_one_line(n: int, rule: str, entry: Entry, tmp_path: Path) -> None:
    path = embeddings_of(n, tmp_path) if n else tmp_path / "none.npy"
    refused = entry("materialize", "--dataset", "digits@100", "--strategy", STRATEGY.format(path))
    assert refused.status == 2
    assert rule in refused.err
    assert "Traceback" not in refused.err


def test_a_study_uses_another_subset_where_the_file_is_another(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "study: frozen\ndatasets: [digits@100]\nepochs: 1\n"
        'strategies: [full, "k-center:0.2,embeddings=file:embeddings.npy"]\n'
        "grid: {base: {arch: xresnet10-w16}, configurations: [{}]}\n"
    )
    client, counts = MlflowClient(), []
    for seed in (0, 0, 1):
        embeddings_of(100, tmp_path, seed)
        ended = entry("sweep", "--study", str(tmp_path / "s.yaml"), *STUDY)
        assert ended.status == 0, ended.err
        experiment = client.get_experiment_by_name("frozen")
        runs = client.search_runs([experiment.experiment_id], max_results=100)
        kinds = [run.data.tags["proxyflow.kind"] for run in runs]
        counts.append((kinds.count("training"), kinds.count("subset"), kinds.count("score")))
    assert counts == [(2, 2, 0), (2, 2, 0), (3, 3, 0)]


def test_a_worker_without_the_file_or_with_another_trains_on_the_artifact(
    entry: Entry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from proxyflow.cli.opening import open_context
    from proxyflow.data.catalog import DataOptions
    from proxyflow.strategies import parse_strategy
    from proxyflow.studies.subsets import ensure_subset, load_planned_subset

    path = embeddings_of(100, tmp_path)
    strategy = parse_strategy(STRATEGY.format(path))
    context = open_context("elsewhere", DataOptions())
    reference = ensure_subset(context, context.dataset("digits@100"), strategy, 0, None)
    for change, said in (
        (lambda: embeddings_of(100, tmp_path, 1), "a file of the strategy"),
        (path.unlink, "no such file"),
    ):
        change()
        context = open_context("elsewhere", DataOptions())
        capfd.readouterr()
        planned = planned_of(strategy.canonical, spec_of(), "digits@100")
        subset = load_planned_subset(context, planned, reference)
        assert subset.fingerprint == reference.fingerprint
        assert said in capfd.readouterr().err
