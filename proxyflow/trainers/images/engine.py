"""The engine protocol and registry: an engine is the training loop inside the image trainer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from proxyflow.core.registry import Registry
from proxyflow.trainers.job import Job
from proxyflow.trainers.model_access import Hooks
from proxyflow.trainers.results import EpochRecord, Trained

if TYPE_CHECKING:
    import torch

    from proxyflow.trainers.images.trainer import ImageTrainer


@dataclass(frozen=True, eq=False)
class TrainingState:
    """The complete state of a training after an epoch.

    Attributes:
        tensors: weights, optimizer state and weights of the best epoch, by name. These are the training's own tensors,
            which the next epoch changes; copy them to keep them.
        records: the finished epochs.
        train_seconds, valid_seconds, setup_seconds, examples_seen: cost of the finished epochs.
    """

    tensors: dict[str, torch.Tensor]
    records: tuple[EpochRecord, ...]
    train_seconds: float
    valid_seconds: float
    setup_seconds: float
    examples_seen: int


class Engine(Protocol):
    """A training loop."""

    def train(self, trainer: ImageTrainer, job: Job, hooks: Hooks) -> Trained:
        """Trains on `job.subset.train` and validates on `job.subset.valid` after every epoch.

        Raises:
            UserError: the subset has fewer than 2 examples, the device does not support the precision, or the job
                needs checkpoints and the engine has none.
        """
        ...


@dataclass(frozen=True)
class EnginePlugin:
    """An engine that is imported on first use, because its libraries take seconds to import.

    Attributes:
        description: one line for `--help`.
        module, cls: module and name of its class.
        resumes: whether it can resume from a `TrainingState`.
    """

    description: str
    module: str
    cls: str
    resumes: bool


engines: Registry[EnginePlugin] = Registry("engine")
engines.add(
    "fast",
    EnginePlugin(
        "a plain loop with fused optimizers, CUDA graphs on GPUs",
        "proxyflow.trainers.images.fast_engine",
        "FastEngine",
        True,
    ),
)
engines.add(
    "fastai",
    EnginePlugin("fastai's Learner, the reference", "proxyflow.trainers.images.fastai_engine", "FastaiEngine", False),
)
DEFAULT_ENGINE = next(iter(engines))


@lru_cache
def get_engine(name: str) -> Engine:
    """Imports an engine by name; cached."""
    plugin = engines[name]
    with warnings.catch_warnings():
        # torchvision and fastai use deprecated parts of torch.
        warnings.simplefilter("ignore")
        engine: Engine = getattr(import_module(plugin.module), plugin.cls)()
    return engine
