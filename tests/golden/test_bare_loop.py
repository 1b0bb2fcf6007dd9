"""The first losses of a library's network are those of a loop that anybody would write, with torch's own optimizer."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
import timm
import torch
from image_training import CPU, few_digits, spec_of, train
from torch import nn

from proxyflow.core.seeds import stream_seed
from proxyflow.data.images.batches import DeviceImages, TrainBatches
from proxyflow.data.images.store import ImageSet
from proxyflow.trainers.model_access import Hooks

STEPS, EPOCHS, BATCH, SIDE, DECAY, FLIP = 50, 10, 16, 32, 0.05, 0.5


def one_cycle(step: int, steps: int, rate: float) -> tuple[float, float]:
    """Rate and momentum, as Smith 2018 and fastai's defaults say it."""

    def cosine(start: float, end: float, place: float) -> float:
        return start + (end - start) * (1 - math.cos(math.pi * place)) / 2

    place = step / steps
    if place < 0.3:
        return cosine(rate / 10, rate, place / 0.3), cosine(0.95, 0.85, place / 0.3)
    rest = (place - 0.3) / 0.7
    return cosine(rate, rate / 1e5, rest), cosine(0.85, 0.95, rest)


def bare_losses(name: str, highest: float) -> list[float]:
    """A plain loop over the same batches."""
    subset = few_digits()
    assert isinstance(subset.train, ImageSet)
    images = DeviceImages(subset.train, subset.classes, subset.preprocessing.at(SIDE), CPU)
    batches = TrainBatches(images, BATCH, FLIP, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(0, "init"))
        model = timm.create_model(name, num_classes=len(subset.classes))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=highest, betas=(0.95, 0.99), eps=1e-6)
    loss_of, steps, losses = nn.CrossEntropyLoss(label_smoothing=0.1), EPOCHS * len(batches), list[float]()
    model.train()
    for epoch in range(EPOCHS):
        batches.epoch = epoch
        for number, (x, y) in enumerate(batches, start=epoch * len(batches)):
            rate, momentum = one_cycle(number, steps, highest)
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = rate, (momentum, 0.99)
            loss = loss_of(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses[:STEPS]


# With batch norm, a larger rate blows up the last bit of a sum, in which the two differ.
@pytest.mark.parametrize(("name", "rate"), [("test_resnet", 1e-5), ("test_convnext", 1e-3)])
def test_the_first_50_losses_are_those_of_a_bare_loop(name: str, rate: float) -> None:
    losses: list[float] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        losses.append(float(nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)))

    changes = {"learning_rate": rate, "weight_decay": DECAY, "batch_size": BATCH, "flip_probability": FLIP}
    spec = spec_of(EPOCHS, image_size=SIDE, precision="fp32", arch=f"timm/{name}", **changes)
    train(few_digits(), spec, Hooks(on_batch=watch))
    found = np.array(list(islice(losses, STEPS)))
    assert len(found) == STEPS
    assert found == pytest.approx(np.array(bare_losses(name, rate)), rel=1e-4)
    assert found[-10:].mean() < found[:10].mean(), "it learns"
