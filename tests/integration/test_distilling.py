"""Synthetic images from the command line: made, interrupted and made further, trained on, and found by a study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from entry_points import SMALL, STUDY, Entry
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from safetensors.numpy import load_file

TINY = ("--image-size", "8", "--images-per-class", "2", "--settings", "width=4,depth=2,real_per_class=8")
RUN = re.compile(r"run ([0-9a-f]{32})")


def runs_of(study: str, kind: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(study)
    assert found is not None
    return list(client.search_runs([found.experiment_id], f"tags.`proxyflow.kind` = '{kind}'"))


def files(run: Run, path: str) -> set[str]:
    return {Path(each.path).name for each in MlflowClient().list_artifacts(run.info.run_id, path)}


def artifact(run: Run, path: str, folder: Path) -> Path:
    return Path(MlflowClient().download_artifacts(run.info.run_id, path, str(folder)))


def test_an_interrupted_distillation_goes_on_and_its_images_are_trained_on(
    store: str, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxyflow.core import progress
    from proxyflow.distillation import distill as distil
    from proxyflow.distillation.matching import Matching
    from proxyflow.studies import distillations

    monkeypatch.setattr(distil, "INTERVALS", 3)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    arguments = ("--iterations", "30", *TINY)
    whole = entry("distill", *arguments, "--study", "whole")
    assert whole.status == 0, whole.err
    monkeypatch.setattr(distillations, "CHECKPOINT_SECONDS", 0.0)
    step = Matching.step

    def interrupted(process: Matching, iteration: int) -> object:
        if iteration == 25 and process.problem.device.type != "meta":
            raise KeyboardInterrupt
        return step(process, iteration)

    monkeypatch.setattr(Matching, "step", interrupted)
    stopped = entry("distill", *arguments, "--study", "stopped")
    assert stopped.status == 130, stopped.err
    (first,) = runs_of("stopped", "distillation")
    assert first.data.tags["proxyflow.status"] == "interrupted"
    assert files(first, "checkpoint") == {"a", "b"}
    assert not files(first, "subset")
    monkeypatch.setattr(Matching, "step", step)
    resumed = entry("distill", *arguments, "--study", "stopped", "--price-per-hour", "3.6")
    assert resumed.status == 0, resumed.err
    assert f"resuming after iteration 25 of run {first.info.run_id}" in resumed.err
    told = re.findall(r"(\d+)/30 iterations", stopped.err), re.findall(r"(\d+)/30 iterations", resumed.err)
    assert told == ([str(number) for number in range(1, 26)], [str(number) for number in range(26, 31)])

    run, of_whole = runs_of("stopped", "distillation")[0], runs_of("whole", "distillation")[0]
    assert run.data.tags["proxyflow.resumed_from"] == first.info.run_id
    for tag in ("run_key", "subset_fingerprint", "strategy"):
        assert run.data.tags[f"proxyflow.{tag}"] == of_whole.data.tags[f"proxyflow.{tag}"]
    assert not files(run, "checkpoint")
    assert not files(MlflowClient().get_run(first.info.run_id), "checkpoint")
    for key in ("examples_seen", "train_flops", "selection_examples_seen", "loss", "n_train"):
        assert run.data.metrics[key] == of_whole.data.metrics[key]
    assert run.data.metrics["cost_usd"] == pytest.approx(run.data.metrics["wall_seconds"] / 1000)
    losses = MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert sorted(each.step for each in losses) == [10, 20, 30]
    assert {"iteration-000000.png", "iteration-000030.png"} <= files(of_whole, "distillation/pictures")

    manifest = json.loads(artifact(run, "subset/manifest.json", tmp_path).read_text())
    assert manifest["strategy"] == "distilled:2,iterations=30"
    assert (manifest["n_train"], manifest["n_valid"], manifest["n_source"]) == (20, 500, 1297)
    assert manifest["selection_cost"]["train_seconds"] == run.data.metrics["train_seconds"]
    table = pq.read_table(artifact(run, "subset/train-00000.parquet", tmp_path))
    assert table["label"].to_pylist() == [label for label in range(10) for _ in range(2)]
    assert table["image"][0].as_py()["bytes"].startswith(b"\x89PNG")
    assert load_file(artifact(run, "distillation/learned.safetensors", tmp_path))["images"].shape == (20, 1, 8, 8)
    assert json.loads(artifact(run, "distillation/summary.json", tmp_path).read_text())["spec"]["image_size"] == 8

    small = ("--arch", "xresnet10-w16", "--batch-size", "128", "--epochs", "1")
    trained = entry("train", *small, "--subset", run.info.run_id, "--study", "stopped")
    assert trained.status == 0, trained.err
    training = runs_of("stopped", "training")[0]
    assert training.data.params["image_size"] == "8", "the size that they were made at"
    assert training.data.params["n_train"] == "20"
    assert (training.data.params["passes"], training.data.params["batch_size"]) == ("6", "20")
    assert training.data.metrics["examples_seen"] == 120
    for metric in ("train_seconds", "examples_seen", "train_flops"):
        assert training.data.metrics[f"selection_{metric}"] == run.data.metrics[metric]
    other = f"--subset {run.info.run_id} --strategy distilled:2,iterations=30,share=1.0"
    assert f"proxyflow train {other} --price-per-hour 3.6 --study stopped\n" in resumed.out


def test_a_study_makes_its_images_once_and_finds_them_again(entry: Entry, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("- {arch: xresnet10-w16}\n")
    strategies = "full,distilled:1,iterations=2,distilled:1,iterations=2,budget=epochs"
    study = ("--study", "images", "--strategies", strategies, "--epochs", "1", "--grid", str(grid), *STUDY)
    plan = entry("sweep", *study, "--dry-run", "true")
    assert plan.status == 0, plan.err
    images = [line for line in plan.out.splitlines() if line.startswith("digits") and "distilled" in line]
    assert "to do" in images[0]
    assert " 2 " in images[0]
    assert "images" in images[1]
    assert "of it distilling" in plan.out
    made = entry("sweep", *study)
    assert made.status == 0, made.err
    assert "3 trainings planned, 3 finished (3 now)" in made.out
    (run,) = runs_of("images", "distillation")
    assert run.data.tags["mlflow.parentRunId"] == runs_of("images", "study")[0].info.run_id
    trainings = {r.data.tags["proxyflow.strategy"]: r for r in runs_of("images", "training")}
    assert trainings["distilled:1,iterations=2"].data.params["passes"] == "13"
    assert trainings["distilled:1,iterations=2,budget=epochs"].data.params["passes"] == "1"
    assert trainings["distilled:1,iterations=2"].data.tags["proxyflow.subset_run"] == run.info.run_id
    # Another seed trains anew on the same images.
    seed = ("--strategy", "distilled:1,iterations=2", "--seed", "1", "--epochs", "1")
    assert entry("train", *SMALL, *seed, "--study", "images").status == 0
    assert len(runs_of("images", "distillation")) == 1
    (again,) = (r for r in runs_of("images", "training") if r.data.tags["proxyflow.seed"] == "1")
    assert again.data.tags["proxyflow.subset_run"] == run.info.run_id
    told = entry("sweep", *study, "--dry-run", "true").out
    assert "distilling" not in told
    assert f"run {run.info.run_id}" in told
    assert "3 runs, 0 to do" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "gradient-steps"), "image_size=8 is not accepted: LeNet takes images of at least 12 pixels"),
        (("--settings", "depth=4"), "image_size=8 is too small for depth=4: each block halves the images"),
    ],
)
def test_images_that_no_method_can_make_are_refused_without_a_run(
    entry: Entry, arguments: tuple[str, ...], message: str
) -> None:
    refused = entry("distill", "--image-size", "8", *arguments, "--study", "refused")
    assert refused.status == 2
    assert message in refused.err
    assert "Traceback" not in refused.err
    assert MlflowClient().get_experiment_by_name("refused") is None


def test_memory_that_does_not_suffice_after_all_is_told_with_what_takes_less(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import OutOfMemoryError

    from proxyflow.distillation.matching import Matching

    step = Matching.step

    def hungry(process: Matching, iteration: int) -> object:
        if process.problem.device.type != "meta":
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
        return step(process, iteration)

    monkeypatch.setattr(Matching, "step", hungry)
    ended = entry("distill", *TINY, "--study", "hungry")
    assert ended.status == 1
    assert "at least 2,560 MB needed with images_per_class=2; use fewer images_per_class, a smaller" in ended.err
    assert "Traceback" not in ended.err


def test_images_that_do_not_fit_stop_a_study_before_anything_is_made(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxyflow.trainers.images import memory

    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Free", (), {"available": 1e6}))
    study = ("--study", "full-up", "--strategies", "full,easiest:0.5,distilled:1,iterations=3", "--epochs", "1", *STUDY)
    refused = entry("sweep", *study)
    assert refused.status == 2
    assert "memory=" in refused.err
    assert "fewer images_per_class" in refused.err
    assert MlflowClient().get_experiment_by_name("full-up") is None
