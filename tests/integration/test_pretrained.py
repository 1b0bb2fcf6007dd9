"""Weights of other trainings, from a folder of photos to an MLflow model that is loaded again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from entry_points import Entry
from mlflow.tracking import MlflowClient
from PIL import Image
from safetensors.torch import load_file, save_file
from test_whole_study import artifact, runs_of

PHOTOS, SIDE = 100, 40


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 photos in three classes, which differ in their colours."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, name in enumerate(("blue", "green", "red")):
        (folder / name).mkdir()
        for number in range(PHOTOS):
            pixels = rng.integers(0, 160, (SIDE, SIDE + number % 7, 3), dtype=np.uint8)
            pixels[..., 2 - label] += 90
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")
    return folder


def test_photos_are_tuned_from_a_file_of_weights_and_the_model_loads_again(
    photos: Path, entry: Entry, tmp_path: Path
) -> None:
    import mlflow

    with torch.random.fork_rng():
        torch.manual_seed(1)
        published = timm.create_model("resnet18")  # 1,000 classes
    file = tmp_path / "resnet18.safetensors"
    save_file(published.state_dict(), str(file))
    arguments = (
        *("--dataset", f"folder:{photos}", "--valid-examples", "60", "--arch", "timm/resnet18", "--epochs", "1"),
        *("--image-size", "32", "--batch-size", "16", "--study", "photos", "--save-model", "true"),
    )
    ended = entry("train", *arguments, "--weights", f"file:{file}", "--log-model", "true")
    assert ended.status == 0, ended.err
    run = runs_of("photos", kind="training")[0]
    assert len(run.data.params["weights_sha256"]) == 64
    assert run.data.metrics["best_valid_accuracy"] > 0.5
    model = mlflow.search_logged_models([run.info.experiment_id], output_format="list")[0]
    description = json.loads(artifact(run, "weights/model.json", tmp_path / "first").read_text())
    photo = np.asarray(Image.open(photos / "red/0.jpg").resize((32, 32)), dtype=np.float32) / 255
    mean, std = (np.array(description[key], dtype=np.float32) for key in ("mean", "std"))
    logits = mlflow.pyfunc.load_model(model.model_uri).predict(((photo - mean) / std).transpose(2, 0, 1)[None])
    assert description["class_names"][int(np.argmax(logits))] == "red"

    # The next training begins where this one ended, with half of its layers fixed.
    again = entry("train", *arguments, "--weights", f"run:{run.info.run_id}", "--freeze", "0.5")
    assert again.status == 0, again.err
    tuned = next(each for each in runs_of("photos", kind="training") if each.info.run_id != run.info.run_id)
    first, second = (
        load_file(artifact(each, "weights/model.safetensors", tmp_path / each.info.run_id)) for each in (run, tuned)
    )
    same = {name for name, value in first.items() if torch.equal(value, second[name])}
    assert any(name.endswith("conv1.weight") for name in same)
    assert not any(name.endswith("fc.weight") for name in same)
    assert len({each.data.tags["proxyflow.run_key"] for each in (run, tuned)}) == 2


def test_weights_that_are_not_there_stop_before_anything_is_trained(photos: Path, entry: Entry) -> None:
    for weights in ("file:nowhere.pth", f"run:{'0' * 32}", "default"):
        ended = entry("train", "--dataset", f"folder:{photos}", "--weights", weights, "--study", "none-of-it")
        assert ended.status == 2, weights
        assert "Traceback" not in ended.err
    assert MlflowClient().get_experiment_by_name("none-of-it") is None
