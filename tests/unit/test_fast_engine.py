"""The fast engine computes what the reference does: same weights, same batches, same schedule, same steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_training import CPU, copied, few_digits, spec_of, train, untimed
from torch import nn

from benchmarks.operations import Operations
from proxyflow.spaces.configuration import Configuration
from proxyflow.trainers.images import session
from proxyflow.trainers.images.arithmetic import Precision
from proxyflow.trainers.images.models import build_model, set_memory_format
from proxyflow.trainers.images.optimizers import OPTIMIZERS
from proxyflow.trainers.images.space import image_configuration
from proxyflow.trainers.images.steps import FIRST_SCALE, LossScale, TrainingStep
from proxyflow.trainers.model_access import Hooks

X18 = image_configuration(arch="xresnet18")
STEPS, BATCH = 50, 16


def small_network(
    configuration: Configuration, n_classes: int, seed: int, width: float = 1.0, image_size: int | None = None
) -> nn.Module:
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
    changes = {"optimizer": optimizer, "label_smoothing": smoothing, "learning_rate": rate}
    losses: list[float] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        losses.append(float(nn.functional.cross_entropy(logits.double(), labels, label_smoothing=smoothing)))

    spec = spec_of(5, engine=engine, arch="xresnet18-w16", batch_size=BATCH, **changes)
    train(few_digits(0.15), spec, Hooks(on_batch=watch))
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
    """In fp32, at rates at which an XResNet does not blow up the last bit of a sum."""
    assert largest_difference(optimizer, 0.1, rate) < 1e-4


def test_a_gradient_in_another_memory_format_is_laid_out_like_its_weight() -> None:
    """Fused kernels go through parameters and gradients side by side, whatever their strides are."""
    torch.manual_seed(0)
    network = build_model(X18, 10, 0)
    x = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    y = torch.arange(4)
    fp32 = Precision("fp32", torch.float32)
    changed = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = set_memory_format(build_model(X18, 10, 0), layout)
        step = TrainingStep(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model, 0.01), fp32)
        step.by_numbers(x, y, 0.003, 0.9)
        changed.append(list(model.parameters()))
        strange = step._stride_mismatch
        assert bool(strange) == (layout == torch.contiguous_format), "the case that this test is about is gone"
    for before, one, other in zip(network.parameters(), *changed, strict=True):
        # A first step of Adam moves each weight by the rate in the gradient's direction.
        assert torch.allclose(one, other, atol=2e-4)
        # Norms that end a residual branch begin at 0 and have no gradient at first; others do.
        assert before.ndim == 1 or not torch.equal(before, one)


def test_an_epoch_asks_the_device_once_whatever_its_length() -> None:
    def counted(share: float) -> Operations:
        with Operations() as operations:
            train(few_digits(share), spec_of(1, arch="xresnet18", batch_size=16))
        return operations

    short, long = counted(0.1), counted(0.2)
    steps = len(few_digits(0.2).train) // 16 - len(few_digits(0.1).train) // 16
    assert steps == 8
    assert len(short.waits) == len(long.waits)
    model = build_model(X18, 10, 0)
    optimizer = OPTIMIZERS["adam"](model, 0.01)
    x, y = torch.randn(16, 3, 8, 8), torch.arange(16) % 10
    with Operations() as bare:
        loss = nn.CrossEntropyLoss(label_smoothing=0.1)(model(x), y)
        optimizer.step(torch.autograd.grad(loss, optimizer.parameters), 0.003, 0.9)
    # The batch and the counting come to what nobody can do without.
    assert (len(long.names) - len(short.names)) / steps < len(bare.names) + 60


def test_a_step_asks_the_device_nothing() -> None:
    for precision in (Precision("fp32", torch.float32), Precision("bf16", torch.bfloat16)):
        model = small_network(X18, 10, 0)
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
        model = small_network(X18, 10, 0)
        steps.append(TrainingStep(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model, 0.01), fp32))
    plain, scaled = steps
    scaled.scale = LossScale(CPU)
    for step in steps:
        step.lr_and_momentum.copy_(torch.tensor([0.1, 0.9]))
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
    image_size = {"fp32": 8, "bf16": 24}[precision]
    spec = spec_of(3, 3, image_size, precision, batch_size=BATCH, optimizer=optimizer)
    subset, kept = few_digits(0.05), []

    whole = train(subset, spec, keep_best_weights=True, on_checkpoint=lambda each: kept.append(copied(each)))
    assert [checkpoint.done for checkpoint in kept] == [1, 2, 3]
    for checkpoint in kept[:2]:
        resumed = train(subset, spec, keep_best_weights=True, start=checkpoint)
        assert untimed(resumed.result) == untimed(whole.result)
        for one, other in (
            (whole.model.state_dict(), resumed.model.state_dict()),
            (whole.best_weights, resumed.best_weights),
        ):
            assert one.keys() == other.keys() != set()
            assert all(torch.equal(one[name], other[name]) for name in one)
        assert resumed.result.examples_seen == whole.result.examples_seen
        assert resumed.result.train_seconds > checkpoint.state.train_seconds
        assert resumed.result.valid_seconds > checkpoint.state.valid_seconds > 0
        assert resumed.result.steps == whole.result.steps
