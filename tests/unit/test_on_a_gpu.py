"""What only a CUDA device can show: that graphs train as eager steps do, in every precision and on each device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from image_training import copied, few_digits, losses, spec_of
from image_training import train as train_on
from safetensors.torch import save_file

from proxyflow.core.errors import OutOfMemory
from proxyflow.trainers import Trained
from proxyflow.trainers.images import capture, models, session
from proxyflow.trainers.images.capture import graphs_of
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
from proxyflow.trainers.images.optimizers import OPTIMIZERS
from proxyflow.trainers.model_access import NO_HOOKS, Hooks

pytestmark = pytest.mark.cuda
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def nothing_recorded() -> Iterator[None]:
    """Each test records for itself, and leaves the device's memory to others."""
    capture.reset()
    yield
    capture.reset()


def train(
    device: torch.device = GPU, hooks: Hooks = NO_HOOKS, how: dict[str, Any] | None = None, **changes: Any
) -> Trained:
    usual = {"epochs": 3, "image_size": 32, "arch": "xresnet18", "learning_rate": 1e-4}
    return train_on(
        few_digits(0.25), spec_of(**{**usual, **changes}), hooks, device, keep_best_weights=True, **(how or {})
    )


def assert_alike(one: Trained, other: Trained) -> None:
    for a, b in zip(one.result.records, other.result.records, strict=True):
        assert b.values["train_loss"] == pytest.approx(a.values["train_loss"], rel=0.01)
        assert b.values["valid_loss"] == pytest.approx(a.values["valid_loss"], rel=0.02)
        assert b.values["valid_accuracy"] == pytest.approx(a.values["valid_accuracy"], abs=0.05)


def refuse() -> None:
    raise RuntimeError("recording is switched off")


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_graphs_train_as_eager_steps_do(optimizer: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [train(seed=seed, precision=precision, optimizer=optimizer) for seed in (0, 1)]
    assert len(graphs_of(GPU).shapes) == 1
    capture.reset()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    eager = [train(seed=seed, precision=precision, optimizer=optimizer) for seed in (0, 1)]
    for one, other in zip(recorded, eager, strict=True):
        assert one.result.params["execution"] == "CUDA graph"
        assert other.result.params["execution"].startswith("eager, because ")
        assert_alike(one, other)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("arch", ["timm/resnet18", "timm/tf_efficientnet_lite0", "torchvision/resnet18"])
def test_graphs_of_library_networks_train_as_eager_steps_do(
    arch: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A rate at which the losses of all three fall: differences of rounding grow where they jump about.
    usual: dict[str, Any] = {"precision": precision, "arch": arch, "learning_rate": 1e-5, "epochs": 2}
    recorded = [train(seed=seed, **usual) for seed in (0, 1)]
    assert len(graphs_of(GPU).shapes) == 1
    capture.reset()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    eager = [train(seed=seed, **usual) for seed in (0, 1)]
    for one, other in zip(recorded, eager, strict=True):
        assert one.result.params["execution"] == "CUDA graph"
        assert_alike(one, other)


def test_dropout_in_a_graph_follows_the_seed_of_its_layers() -> None:
    """In fp32, as rounding must not look like dropout: the same seed repeats, and layers seeded otherwise do not."""
    usual: dict[str, Any] = {"arch": "torchvision/mobilenet_v3_small", "epochs": 2, "precision": "fp32"}
    usual |= {"learning_rate": 1e-3}
    runs = [train(**usual) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "seed_layers", lambda device, seed, epoch: models.seed_layers(device, seed + 1, epoch))
        runs.append(train(**usual))
    assert {run.result.params["execution"] for run in runs} == {"CUDA graph"}
    first, again, other = (losses(run.result) for run in runs)
    repeats = max(abs(a - b) for a, b in zip(first, again, strict=True))
    differs = max(abs(a - b) for a, b in zip(first, other, strict=True))
    assert differs > 10 * repeats
    assert differs > 1e-3


def test_pretrained_and_frozen_weights_stay_as_they_are_in_a_graph(tmp_path: Path) -> None:
    donor = train(arch="timm/resnet18", precision="fp32")
    assert donor.model is not None
    file = tmp_path / "weights.safetensors"
    save_file({name: value.cpu().contiguous() for name, value in donor.model.state_dict().items()}, file)
    tuned = train(arch="timm/resnet18", weights=f"file:{file}", freeze=0.5, epochs=2)
    assert tuned.result.params["execution"] == "CUDA graph"
    given, after = donor.model.state_dict(), tuned.model.state_dict()  # type: ignore[union-attr]
    assert torch.equal(given["conv1.weight"].cpu(), after["conv1.weight"].cpu())
    assert not torch.equal(given["layer4.1.conv2.weight"].cpu(), after["layer4.1.conv2.weight"].cpu())


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_every_precision_trains_and_is_set_by_name(precision: str) -> None:
    if precision in ("tf32", "bf16") and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip(f"{torch.cuda.get_device_name(GPU)} has no {precision}")
    during: set[tuple[str, str]] = set()

    def watch(*given: object) -> None:
        during.add((torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision))

    result = train(hooks=Hooks(on_batch=watch), precision=precision, epochs=5, learning_rate=3e-3).result
    assert during == {("tf32", "tf32") if precision == "tf32" else ("ieee", "ieee")}
    assert (result.params["precision_used"], result.params["execution"]) == (precision, "CUDA graph")
    assert not result.diverged
    assert losses(result)[-1] < losses(result)[0]
    assert result.steps + result.metrics.get("skipped_steps", 0) == 5 * 10
    assert 0 < result.valid_seconds < result.train_seconds


def test_shapes_share_memory_and_stay_apart() -> None:
    alone = {smoothing: train(label_smoothing=smoothing) for smoothing in (0.0, 0.1)}
    again = {smoothing: train(label_smoothing=smoothing) for smoothing in (0.0, 0.1)}
    assert len(graphs_of(GPU).shapes) == 2
    for smoothing, trained in alone.items():
        assert_alike(trained, again[smoothing])


def test_a_resumed_training_goes_on_as_the_uninterrupted_one() -> None:
    kept: list[TrainingCheckpoint] = []
    whole = train(how={"on_checkpoint": lambda checkpoint: kept.append(copied(checkpoint))})
    resumed = train(how={"start": kept[0]})
    assert resumed.result.params["execution"] == "CUDA graph"
    assert (resumed.result.steps, resumed.result.examples_seen) == (whole.result.steps, whole.result.examples_seen)
    assert_alike(whole, resumed)


def test_what_does_not_fit_says_so_and_leaves_the_device_to_the_next() -> None:
    train()
    with pytest.raises(OutOfMemory):
        train_on(few_digits(1.0), spec_of(1, image_size=768, arch="xresnet101", batch_size=2000), device=GPU)
    assert train().result.params["execution"] == "CUDA graph"


@pytest.mark.cuda(devices=2)
def test_two_devices_in_two_threads_train_each_its_own_model() -> None:
    gpus = [GPU, torch.device("cuda", 1)]
    alone = [train(gpu, seed=gpu.index) for gpu in gpus]
    capture.reset()
    together, found, errors = threading.Barrier(2), dict[int, list[Trained]](), list[BaseException]()

    def work(gpu: torch.device) -> None:
        try:
            torch.cuda.set_device(gpu)
            together.wait()
            found[gpu.index] = [train(gpu, seed=gpu.index) for _ in range(2)]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(gpu,)) for gpu in gpus]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for one, trained in zip(alone, (found[gpu.index] for gpu in gpus), strict=True):
        for other in trained:
            assert other.result.params["execution"] == "CUDA graph"
            assert_alike(one, other)
