"""Small image trainings: a spec and a training each in one line."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import torch
from made_up import digits

from proxyflow.proxies import parse_proxy
from proxyflow.strategies import parse_strategy
from proxyflow.studies.plan import PlannedTraining, training_spec
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers import ImageTrainer, Job, Trained, TrainingResult, TrainingSpec
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
from proxyflow.trainers.images.space import image_configuration
from proxyflow.trainers.model_access import NO_HOOKS, Hooks

CPU = torch.device("cpu")


def spec_of(
    epochs: int = 2,
    seed: int = 0,
    image_size: int | None = 8,
    precision: str = "auto",
    engine: str = "fast",
    **hyperparameters: Any,
) -> TrainingSpec:
    """A training that takes a second: the narrowest network on images of 8 pixels in batches of 32."""
    configuration = image_configuration(**{"arch": "xresnet10-w16", "batch_size": 32, **hyperparameters})
    return TrainingSpec(configuration, epochs, seed, ImageTrainer(image_size, precision, engine))


def planned_of(strategy: str, spec: TrainingSpec | None = None, dataset: str = "digits") -> PlannedTraining:
    """The training of a proxy, where `spec` is that of the target."""
    full = spec or spec_of()
    reduced = training_spec(full.configuration, full.epochs, full.seed, full.trainer, parse_proxy(strategy))
    return PlannedTraining(dataset, reduced)


def train(
    subset: Subset, spec: TrainingSpec, hooks: Hooks = NO_HOOKS, device: torch.device = CPU, **job: Any
) -> Trained:
    """Trains by a spec; `job` are further fields of `Job`."""
    assert isinstance(spec.trainer, ImageTrainer)
    return spec.trainer.train_with_hooks(Job(spec, subset, device, **job), hooks)


@cache
def few_digits(share: float = 0.1, seed: int = 0) -> Subset:
    """A share of the embedded data set: 130 examples, where none is given."""
    return choose_subset(digits(), parse_strategy(f"random:{share}"), seed)


def losses(result: TrainingResult) -> list[float]:
    """Training losses by epoch."""
    return [record.values["train_loss"] for record in result.records]


def untimed(result: TrainingResult) -> list[dict[str, float]]:
    """What each epoch gave, apart from how long it took."""
    return [{name: v for name, v in record.values.items() if name != "epoch_seconds"} for record in result.records]


def copied(checkpoint: TrainingCheckpoint) -> TrainingCheckpoint:
    """A checkpoint that the next epoch does not change."""
    tensors = {name: tensor.clone() for name, tensor in checkpoint.state.tensors.items()}
    return dataclasses.replace(checkpoint, state=dataclasses.replace(checkpoint.state, tensors=tensors))
