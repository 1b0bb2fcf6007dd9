"""Data sets of the user's own through the real entry points, and subsets where the data set is not."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from entry_points import SMALL, STUDY, Entry
from image_training import spec_of
from mlflow.tracking import MlflowClient
from picture_files import BAD, make_folder
from source_files import MAKE

from proxyflow.proxies import Proxy
from proxyflow.strategies import parse_strategy
from proxyflow.studies.presets import Preset, presets
from proxyflow.tracking import names
from proxyflow.trainers import ImageTrainer

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(params=[(24, 30), (50, 60)], ids=["padded", "resized"])
def pets(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return make_folder(tmp_path / "my pets", CLASSES, train=40, valid=10, size=request.param)


def run_id_of(out: str) -> str:
    return out.split("run ", 1)[1].split(":", 1)[0]


def losses(run_id: str) -> list[float]:
    return [metric.value for metric in MlflowClient().get_metric_history(run_id, "train_loss")]


def test_a_subset_trains_alike_with_and_without_its_data_set(entry: Entry, pets: Path) -> None:
    dataset = f"folder:{pets}"
    made = entry("materialize", "--dataset", dataset, "--strategy", "random:0.5")
    assert made.status == 0, made.err
    assert "120 training and 30 validation images of " in made.err
    assert " pixels, RGB, 3 classes: ant, bee, cat" in made.err
    subset = run_id_of(made.out)
    with_data = entry("train", "--dataset", dataset, "--strategy", "random:0.5", "--epochs", "2", *SMALL)
    assert with_data.status == 0, with_data.err
    shutil.rmtree(pets)
    without = entry("train", "--subset", subset, "--epochs", "2", *SMALL)
    assert without.status == 0, without.err
    client = MlflowClient()
    one, two = (client.get_run(run_id_of(ended.out)) for ended in (with_data, without))
    for tag in ("subset_fingerprint", "dataset_fingerprint", "run_key", "strategy", "dataset"):
        assert one.data.tags[f"proxyflow.{tag}"] == two.data.tags[f"proxyflow.{tag}"], tag
    assert losses(one.info.run_id) == losses(two.info.run_id)
    assert one.data.metrics["best_valid_accuracy"] == two.data.metrics["best_valid_accuracy"]
    assert client.get_run(subset).data.params["classes"] == "ant, bee, cat"


@pytest.mark.parametrize("image_size", ["16", "180"])
def test_images_that_are_stored_reduced_train_alike_from_their_files(
    entry: Entry, tmp_path: Path, image_size: str
) -> None:
    pets = make_folder(tmp_path / "pets", CLASSES[:2], train=4, valid=2, size=(250, 300))
    network = ("--arch", "xresnet10-w16", "--image-size", image_size, "--batch-size", "4", "--epochs", "1")
    made = entry("materialize", "--dataset", f"folder:{pets}", "--strategy", "full")
    assert made.status == 0, made.err
    assert "12 of them kept with a short side of 160" in made.err
    with_data = entry("train", "--dataset", f"folder:{pets}", "--strategy", "full", *network)
    assert with_data.status == 0, with_data.err
    shutil.rmtree(pets)
    without = entry("train", "--subset", run_id_of(made.out), *network)
    assert without.status == 0, without.err
    one, two = (MlflowClient().get_run(run_id_of(ended.out)).data for ended in (with_data, without))
    for tag in ("subset_fingerprint", "dataset_fingerprint", "run_key"):
        assert one.tags[f"proxyflow.{tag}"] == two.tags[f"proxyflow.{tag}"], tag
    assert one.metrics["train_loss"] == two.metrics["train_loss"]


def test_a_sweep_over_images_that_are_stored_reduced_finds_what_is_finished(
    entry: Entry, tmp_path: Path, grid_file: Path
) -> None:
    pets = make_folder(tmp_path / "pets", CLASSES[:2], train=4, valid=2, size=(250, 300))
    sweep = ("sweep", "--datasets", f"folder:{pets}", "--strategies", "full,random:0.5", "--grid", str(grid_file))
    more = ("--epochs", "1", "--study", tmp_path.name, *STUDY)
    first, second = entry(*sweep, *more), entry(*sweep, *more)
    assert first.status == second.status == 0, first.err + second.err
    assert "(0 now)" not in first.out
    assert "(0 now)" in second.out


def test_original_files_travel_in_the_subset_and_datasets_reads_them(
    entry: Entry, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = entry("materialize", "--dataset", f"folder:{pets}", "--strategy", "random:0.5")
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id_of(made.out), artifact_path="subset"))
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    read = datasets.load_dataset(
        "parquet",
        data_files={"train": str(folder / "train-*.parquet"), "validation": str(folder / "valid-*.parquet")},
        cache_dir=str(tmp_path / "cache"),
    )
    train = read["train"]
    assert isinstance(train.features["image"], datasets.Image)
    assert train.features["label"].names == list(CLASSES)
    assert (len(train), len(read["validation"])) == (60, 30)
    assert train[0]["image"].size in ((30, 24), (60, 50))
    originals = {path.read_bytes() for path in (pets / "train").rglob("*.jpg")}
    raw = train.cast_column("image", datasets.Image(decode=False))
    assert {row["image"]["bytes"] for row in raw} < originals
    assert {row["image"]["path"].rpartition(".")[2] for row in raw} == {"jpg"}
    assert np.bincount(train["label"]).tolist() == [20, 20, 20]


def test_a_path_with_a_comma_is_planned_from_options_and_from_a_file(
    entry: Entry, tmp_path: Path, grid_file: Path
) -> None:
    pets = make_folder(tmp_path / "cats, dogs", CLASSES[:2], train=4, valid=2, size=(24, 30))
    plan = ("--strategies", "full", "--grid", str(grid_file), "--epochs", "1", "--dry-run", "true", *STUDY)
    refused = entry("sweep", "--datasets", f"folder:{pets},digits", *plan)
    assert refused.status == 2
    quoted = f'"folder:{pets}"'
    assert quoted in refused.err
    planned = entry("sweep", "--datasets", f"{quoted},digits@200", *plan)
    assert planned.status == 0, planned.err
    assert f"folder:{pets}" in planned.out
    file = tmp_path / "pets.yaml"
    file.write_text(f"datasets:\n  - 'folder:{pets}'\n  - digits@200\n", encoding="utf-8")
    from_file = entry("sweep", "--study", str(file), *plan)
    assert from_file.status == 0, from_file.err
    assert f"folder:{pets}" in from_file.out


def test_bad_files_are_refused_and_can_be_left_out(entry: Entry, pets: Path) -> None:
    for kind, (suffix, make) in BAD.items():
        make(pets / "train" / "ant" / f"{kind}{suffix}")
    request = ("materialize", "--dataset", f"folder:{pets}", "--strategy", "random:0.5")
    refused = entry(*request)
    assert refused.status == 2
    assert refused.err.count("\nerror: ") + refused.err.startswith("error: ") == 1
    assert all(str(pets / "train" / "ant" / f"{kind}{suffix}") in refused.err for kind, (suffix, _) in BAD.items())
    made = entry(*request, "--skip-bad", "true")
    assert made.status == 0, made.err
    assert f"{len(BAD)} files are left out" in made.err
    assert MlflowClient().get_run(run_id_of(made.out)).data.params["n_skipped"] == str(len(BAD))


def test_a_sweep_over_a_folder_and_a_part(entry: Entry, pets: Path, grid_file: Path, tmp_path: Path) -> None:
    study = ("--study", f"sweep over {tmp_path.name}")
    swept = entry(
        *("sweep", "--datasets", f"folder:{pets},digits@200", "--strategies", "full,easiest:0.5", "--epochs", "1"),
        *("--grid", str(grid_file), *study, *STUDY),
    )
    assert swept.status == 0, swept.err
    assert "16 finished (16 now)" in swept.out
    reported = entry("report", *study, "--out", str(tmp_path / "report"), "--bootstrap", "50")
    assert reported.status == 0, reported.err
    table = (tmp_path / "report" / study[1] / "runs.csv").read_text()
    assert f"folder:{pets}" in table
    assert "digits@200" in table


@pytest.mark.parametrize("kind", ["folder", "fashion-mnist"])
def test_main_runs_unchanged_on_any_data_set(
    entry: Entry, kind: str, tmp_path: Path, grid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Preset(
        "tiny",
        strategies="full random:0.5 easiest:0.5 half-classes:0.5",
        grid=str(grid_file),
        base={"batch_size": 16},
        trainer=ImageTrainer(image_size=8),
        epochs=1,
        max_examples=60,
        budget=2,
    )
    monkeypatch.setitem(presets._items, "demo", tiny)
    name = MAKE[kind](tmp_path) if kind != "folder" else f"folder:{make_folder(tmp_path / 'pets', CLASSES, train=40)}"
    study = f"main on {kind}"
    ended = entry(
        "main", "--dataset", name, "--data-dir", str(tmp_path), "--study", study, "--out", str(tmp_path / "out")
    )
    assert ended.status == 0, ended.err
    assert f"dataset={name}@60" in ended.err
    runs = pd.read_csv(tmp_path / "out" / study / "runs.csv")
    assert len(runs) == 16
    assert set(runs["dataset"]) == {f"{name}@60"}
    assert (runs["status"] == "finished").all()
    # The search has trainings of its own, with seeds that the study, which judges it, does not have.
    client = MlflowClient()
    experiment = client.get_experiment_by_name(f"{study}-search")
    assert experiment is not None
    made = client.search_runs([experiment.experiment_id])
    [search] = [run for run in made if run.data.tags[names.KIND] == "search"]
    assert search.info.status == "FINISHED"
    assert names.MEMORIES not in search.data.tags
    assert 1 <= search.data.metrics["spent"] <= tiny.budget
    trained = [run for run in made if run.data.tags[names.KIND] == "training"]
    assert len(trained) == search.data.metrics["trainings"] > 1
    assert {run.data.tags["mlflow.parentRunId"] for run in trained} == {search.info.run_id}
    assert all(int(run.data.tags[names.SEED]) >= 1 for run in trained)
    assert set(runs["seed"]) == {0}
    # What it says is so by the study's trainings.
    folder = Path(client.download_artifacts(search.info.run_id, "search", str(tmp_path)))
    best = yaml.safe_load((folder / "best.yaml").read_text())
    full = runs[runs["strategy"] == "full"]
    [value] = [row.objective for row in full.itertuples() if json.loads(row.config_json) == best]
    *_, found, its, best_of_all, saved, page, command = ended.out.splitlines()
    assert f"{search.data.metrics['spent']:.2f} full trainings" in found
    assert its.endswith(f"{value:.4f}")
    assert f"{full['objective'].max():.4f}" in best_of_all
    assert f"saved {4 - search.data.metrics['spent']:.2f} full trainings of 4" in saved
    assert saved.endswith(f"lost {100 * (full['objective'].max() - value):.2f} points")
    assert search.info.run_id in page
    words = shlex.split(command.removeprefix("train it: "))[1:]
    again = entry(*words)
    assert again.status == 0, again.err
    known = {run.info.run_id for run in made}
    [last] = [run for run in client.search_runs([experiment.experiment_id]) if run.info.run_id not in known]
    assert json.loads(last.data.tags[names.CONFIG_JSON]) == best
    assert last.data.params["image_size"] == "8"


def test_subsets_of_one_study_share_the_store(entry: Entry, pets: Path) -> None:
    """A subset that the server already has is an index into the store, not another copy from its files."""
    from proxyflow.cli.opening import open_context
    from proxyflow.data.catalog import DataOptions
    from proxyflow.studies.plan import PlannedTraining
    from proxyflow.studies.subsets import ensure_subset, load_planned_subset

    for _ in range(2):
        context = open_context("sharing", DataOptions())
        dataset = context.dataset(f"folder:{pets}")
        for strategy in (parse_strategy("full"), parse_strategy("random:0.5")):
            reference = ensure_subset(context, dataset, strategy, 0, None)
            subset = load_planned_subset(
                context, PlannedTraining(dataset.name, replace(spec_of(), proxy=Proxy(strategy))), reference
            )
            assert subset.train.store is dataset.train.store
            assert subset.valid.store is dataset.train.store
