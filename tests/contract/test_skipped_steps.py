"""An overflow in fp16 for which the loss scaling skips a step is no divergence; weights that are lost are one."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from image_training import CPU, few_digits, losses, spec_of
from image_training import train as train_on
from torch import Tensor, nn

from proxyflow.trainers import Trained, TrainingResult
from proxyflow.trainers.images import fast_engine
from proxyflow.trainers.images import session as sessions
from proxyflow.trainers.images.arithmetic import FP32, Precision
from proxyflow.trainers.images.engine import engines
from proxyflow.trainers.images.schedule import OneCycle
from proxyflow.trainers.images.steps import LossScale, Tally, TrainingStep

PER_EPOCH = 4

# What a model gives at some of its training steps.
Spoil = Callable[[Tensor], Tensor]


def overflowing(logits: Tensor) -> Tensor:
    """A forward pass that leaves the range of fp16."""
    return logits * math.inf


def overflowing_backwards(logits: Tensor) -> Tensor:
    """A loss as it should be, whose gradients leave the range of fp16."""
    logits.register_hook(lambda gradient: gradient * math.inf)
    return logits


class Spoiled(nn.Module):
    def __init__(self, model: nn.Module, spoil: Spoil, at: Collection[int]) -> None:
        super().__init__()
        self.model, self.spoil, self.at, self.steps = model, spoil, at, 0

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        if self.training:
            self.steps += 1
            if self.steps - 1 in self.at:
                return self.spoil(logits)
        return logits


def scaled(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """Makes an engine scale losses on a CPU, where `precision=fp16` is refused."""
    # The reference has its own mixed precision; the fast engine takes the steps that it takes on a GPU.
    dtype = torch.float16 if engine == "fastai" else torch.float32
    monkeypatch.setattr(sessions, "resolve_precision", lambda *asked: Precision("fp16", dtype))

    def by_numbers(step: TrainingStep, schedule: OneCycle) -> Any:
        columns = [torch.from_numpy(schedule.rates), torch.from_numpy(schedule.momenta)]
        return fast_engine._with(torch.stack(columns, dim=1), step, step.on_device)

    monkeypatch.setattr(fast_engine, "_by_numbers", by_numbers)


def train(engine: str, monkeypatch: pytest.MonkeyPatch, spoil: Spoil, at: Collection[int], **changes: Any) -> Trained:
    real = sessions.build_model
    monkeypatch.setattr(sessions, "build_model", lambda *given, **options: Spoiled(real(*given, **options), spoil, at))
    subset = few_digits(0.05)
    assert len(subset.train) // 16 == PER_EPOCH
    return train_on(subset, spec_of(engine=engine, **{"batch_size": 16, "learning_rate": 1e-4, **changes}))


every_engine = pytest.mark.parametrize("engine", list(engines))


@every_engine
def test_a_forward_overflow_whose_step_is_skipped_is_no_divergence(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled(monkeypatch, engine)
    result = train(engine, monkeypatch, overflowing, {0, 5}).result
    assert not result.diverged
    assert len(result.records) == 2
    assert all(math.isfinite(loss) for loss in losses(result))
    check_counts(result, at_least=2)


def check_counts(result: TrainingResult, at_least: int) -> None:
    skipped = result.metrics["skipped_steps"]
    # fp16 may overflow of itself as well, while the scale is looked for.
    assert skipped >= at_least
    assert result.steps + skipped == len(result.records) * PER_EPOCH
    assert result.examples_seen == len(result.records) * PER_EPOCH * 16


@every_engine
def test_an_epoch_whose_steps_are_all_skipped_has_the_loss_of_the_weights_that_stay(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled(monkeypatch, engine)
    result = train(engine, monkeypatch, overflowing_backwards, range(PER_EPOCH)).result
    assert not result.diverged
    assert len(result.records) == 2
    check_counts(result, at_least=PER_EPOCH)
    # A network that has not learnt gives each of ten classes about a tenth.
    assert 1 < losses(result)[0] < 5


@every_engine
def test_an_epoch_in_which_every_forward_pass_overflows_is_a_divergence(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No scale can help: all steps would be skipped for ever."""
    scaled(monkeypatch, engine)
    result = train(engine, monkeypatch, overflowing, range(PER_EPOCH)).result
    assert result.diverged
    assert result.records == ()
    assert result.steps == 0


@every_engine
def test_weights_that_a_scaled_step_blows_up_are_a_divergence(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled(monkeypatch, engine)
    result = train(engine, monkeypatch, overflowing, (), optimizer="sgd", learning_rate=1e38).result
    assert result.diverged
    assert len(result.records) <= 1
    assert result.final == 0


@every_engine
def test_without_scaling_an_overflow_is_a_divergence(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "resolve_precision", lambda *asked: FP32)
    result = train(engine, monkeypatch, overflowing, {1}).result
    assert result.diverged
    assert result.records == ()


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_counts_unless_its_step_was_skipped(loss: float) -> None:
    logits, labels = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])
    for skipped, counted in ((None, True), (torch.tensor(0.0), True), (torch.tensor(1.0), False)):
        tally = Tally(CPU)
        tally.add(torch.tensor(0.5), logits, labels, None if skipped is None else torch.zeros(()))
        tally.add(torch.tensor(loss), logits, labels, skipped)
        mean = sessions._mean_loss(tally.sums.tolist())
        assert math.isfinite(mean) != counted
        if not counted:
            assert tally.sums[0].tolist() == [1.0, 1.0, 2.0]
            assert tally.sums[1].tolist() == [0.0, 0.0, 0.0]
    assert math.isnan(sessions._mean_loss(Tally(CPU).sums.tolist()))


def test_losses_of_skipped_steps_are_kept_apart() -> None:
    logits, labels = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])
    tally, scale = Tally(CPU), LossScale(CPU)
    scale.overflow.fill_(1)
    tally.add(torch.tensor(8.0), logits, labels, scale.overflow)
    assert sessions._mean_loss(tally.sums.tolist()) == 8.0
    scale.overflow.zero_()
    tally.add(torch.tensor(0.5), logits, labels, scale.overflow)
    assert sessions._mean_loss(tally.sums.tolist()) == 0.5
