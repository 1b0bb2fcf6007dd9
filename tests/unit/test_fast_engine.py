"""The fast engine computes what the reference does: same weights, same batches, same schedule, same steps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_up import digits
from torch import nn

from benchmarks.operations import Operations
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.training import session
from proxyflow.training.devices import Precision
from proxyflow.training.engine import TrainingSpec, TrainingState, get_engine
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings
from proxyflow.training.models import build_model, lay_out
from proxyflow.training.optimizers import OPTIMIZERS
from proxyflow.training.steps import FIRST_SCALE, LossScale, TrainingStep

CPU = torch.device("cpu")
STEPS, BATCH = 50, 16


def part(fraction: str) -> Subset:
    return choose_subset(digits(), parse_strategy(f"random:{fraction}"), 0)


def small_network(hyperparameters: Hyperparameters, n_classes: int, seed: int) -> nn.Module:
    """Convolutions, norms and a classifier, but too few layers to blow up the last bit of a sum."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages = [(nn.Conv2d(n, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()) for n in (3, 8)]
        return nn.Sequential(
            *(layer for stage in stages for layer in stage),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, n_classes),
        )


def first_losses(engine: str, optimizer: str, smoothing: float, rate: float) -> np.ndarray:
    subset = part("0.15")
    hyperparameters = Hyperparameters(
        arch="xresnet18", optimizer=optimizer, label_smoothing=smoothing, learning_rate=rate
    )
    settings = TrainingSettings(epochs=5, batch_size=BATCH, image_size=8)
    losses: list[float] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        losses.append(float(nn.functional.cross_entropy(logits.double(), labels, label_smoothing=smoothing)))

    get_engine(engine).train(subset, TrainingSpec(hyperparameters, settings, 0, engine), CPU, on_batch=watch)
    return np.array(losses[:STEPS])


def largest_difference(optimizer: str, smoothing: float, rate: float) -> float:
    fast, reference = (first_losses(engine, optimizer, smoothing, rate) for engine in ("fast", "fastai"))
    assert len(fast) == len(reference) == STEPS
    return float(np.abs(fast / reference - 1).max())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_losses_are_the_references_at_the_published_rate(
    optimizer: str, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32, with a small network: each engine adds up in its own order, and a deep one makes much of that."""
    monkeypatch.setattr(session, "build_model", small_network)
    assert largest_difference(optimizer, smoothing, 0.003) < 1e-6


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 3e-6), ("sgd", 3e-4), ("rmsprop", 3e-6)])
def test_losses_are_the_references_with_a_published_network(optimizer: str, rate: float) -> None:
    """In fp32, at rates at which XResNet18 does not blow up the last bit of a sum."""
    assert largest_difference(optimizer, 0.1, rate) < 1e-4


def test_a_gradient_in_another_memory_format_is_laid_out_like_its_weight() -> None:
    """Fused kernels go through parameters and gradients side by side, whatever their strides are."""
    torch.manual_seed(0)
    network = build_model(Hyperparameters(arch="xresnet18"), 10, 0)
    x = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    y = torch.arange(4)
    fp32 = Precision("fp32", torch.float32)
    changed = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = lay_out(build_model(Hyperparameters(arch="xresnet18"), 10, 0), layout)
        step = TrainingStep(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model, 0.01), fp32)
        step.by_numbers(x, y, 0.003, 0.9)
        changed.append(list(model.parameters()))
        strange = step._strange
        assert bool(strange) == (layout == torch.contiguous_format), "the case that this test is about is gone"
    for before, one, other in zip(network.parameters(), *changed, strict=True):
        # A first step of Adam moves each weight by the rate in the gradient's direction.
        assert torch.allclose(one, other, atol=2e-4)
        # Norms that end a residual branch begin at 0 and have no gradient at first; others do.
        assert before.ndim == 1 or not torch.equal(before, one)


def test_an_epoch_asks_the_device_once_whatever_its_length() -> None:
    def counted(fraction: str) -> Operations:
        spec = TrainingSpec(Hyperparameters(arch="xresnet18"), TrainingSettings(1, 16, 8), 0, "fast")
        with Operations() as operations:
            get_engine("fast").train(part(fraction), spec, CPU)
        return operations

    short, long = counted("0.1"), counted("0.2")
    steps = len(part("0.2").train) // 16 - len(part("0.1").train) // 16
    assert steps == 8
    assert len(short.waits) == len(long.waits)
    model = build_model(Hyperparameters(arch="xresnet18"), 10, 0)
    optimizer = OPTIMIZERS["adam"](model, 0.01)
    x, y = torch.randn(16, 3, 8, 8), torch.arange(16) % 10
    with Operations() as bare:
        loss = nn.CrossEntropyLoss(label_smoothing=0.1)(model(x), y)
        optimizer.step(torch.autograd.grad(loss, optimizer.parameters), 0.003, 0.9)
    # The batch and the counting come to what nobody can do without.
    assert (len(long.names) - len(short.names)) / steps < len(bare.names) + 60


def test_a_step_asks_the_device_nothing() -> None:
    for precision in (Precision("fp32", torch.float32), Precision("bf16", torch.bfloat16)):
        model = small_network(Hyperparameters(), 10, 0)
        step = TrainingStep(model, nn.CrossEntropyLoss(label_smoothing=0.1), OPTIMIZERS["adam"](model, 0.01), precision)
        x, y = torch.randn(4, 3, 8, 8), torch.arange(4)
        with Operations() as operations:
            step.by_numbers(x, y, 0.003, 0.9)
            step.on_device(x, y)
        assert operations.waits == []


def test_a_scaled_step_is_the_unscaled_one_and_an_overflow_is_left_out() -> None:
    x, y = torch.randn(4, 3, 8, 8), torch.arange(4)
    fp32 = Precision("fp32", torch.float32)
    steps = []
    for _ in range(2):
        model = small_network(Hyperparameters(), 10, 0)
        steps.append(TrainingStep(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model, 0.01), fp32))
    plain, scaled = steps
    scaled.scale = LossScale(CPU)
    for step in steps:
        step.knobs.copy_(torch.tensor([0.1, 0.9]))
        step.on_device(x, y)
    pairs = zip(plain.model.parameters(), scaled.model.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)
    assert float(scaled.scale.scale) == FIRST_SCALE
    before = [p.detach().clone() for p in scaled.model.parameters()]
    scaled.scale.scale.fill_(float("inf"))
    scaled.on_device(x, y)
    assert int(scaled.scale.skipped) == 1
    assert all(torch.equal(a, b) for a, b in zip(before, scaled.model.parameters(), strict=True))
    scaled.scale.reset()
    assert (float(scaled.scale.scale), int(scaled.scale.skipped)) == (FIRST_SCALE, 0)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_training_is_an_uninterrupted_one_bit_for_bit(optimizer: str, precision: str) -> None:
    hyperparameters = Hyperparameters(arch="xresnet18", optimizer=optimizer)
    image_size = {"fp32": 8, "bf16": 24}[precision]
    spec = TrainingSpec(hyperparameters, TrainingSettings(3, BATCH, image_size, precision=precision), 3, "fast")
    subset, states = part("0.05"), []

    def copy(state: TrainingState) -> None:
        tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
        states.append(dataclasses.replace(state, tensors=tensors))

    whole = get_engine("fast").train(subset, spec, CPU, keep_best=True, on_state=copy)
    assert [len(state.records) for state in states] == [1, 2, 3]
    for state in states[:2]:
        resumed = get_engine("fast").train(subset, spec, CPU, keep_best=True, start=state)
        for one, other in zip(whole.result.records, resumed.result.records, strict=True):
            assert dataclasses.replace(one, epoch_seconds=0) == dataclasses.replace(other, epoch_seconds=0)
        for one, other in ((whole.model.state_dict(), resumed.model.state_dict()), _best(whole, resumed)):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
        assert resumed.result.examples_seen == whole.result.examples_seen
        assert resumed.result.train_seconds > state.train_seconds


def _best(*trained: object) -> tuple[dict[str, torch.Tensor], ...]:
    weights = tuple(each.best_weights for each in trained)  # type: ignore[attr-defined]
    assert all(weights)
    return weights
