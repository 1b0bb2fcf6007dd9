"""What an engine does, and what a training gives: the interface between studies and the code that trains."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from proxyflow.registry import Registry
from proxyflow.subsets import Subset
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TrainingSpec:
    """One training, apart from the data it sees."""

    hyperparameters: Hyperparameters
    settings: TrainingSettings
    seed: int
    engine: str = "fastai"


@dataclass(frozen=True)
class EpochRecord:
    """What one finished epoch gave.

    Attributes:
        epoch: 1 for the first.
        train_loss: mean of the training objective over the epoch's examples, in nats.
        valid_loss: mean of the same objective over the validation examples, in nats.
        valid_accuracy: 0 to 1.
        epoch_seconds: training and validation, without logging.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    epoch_seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What one training gave.

    Attributes:
        records: the finished epochs, in order.
        diverged: the training loss stopped being finite, and the run ended there.
        train_seconds: training and validation alone.
        setup_seconds: building the model and bringing the data to the device.
        examples_seen: training examples pushed through the model.
        train_flops: floating-point operations of those examples, forward and backward.
        peak_memory_mb: see `devices.peak_memory_mb`.
        precision, device: what really ran.
    """

    records: tuple[EpochRecord, ...]
    diverged: bool
    train_seconds: float
    setup_seconds: float
    examples_seen: int
    train_flops: float
    peak_memory_mb: float
    precision: str
    device: str
    n_train: int
    n_valid: int
    n_classes: int

    @property
    def best_valid_accuracy(self) -> float:
        """The best of any finished epoch; 0 where the run diverged in its first."""
        return max((record.valid_accuracy for record in self.records), default=0.0)

    @property
    def best_epoch(self) -> int:
        """The first epoch that reached the best accuracy, 0 where none was finished."""
        best = self.best_valid_accuracy
        return next((record.epoch for record in self.records if record.valid_accuracy == best), 0)

    @property
    def final_valid_accuracy(self) -> float:
        """Of the last epoch; 0 after divergence, because the final model predicts nothing."""
        return 0.0 if self.diverged or not self.records else self.records[-1].valid_accuracy

    @property
    def examples_per_second(self) -> float:
        """Training examples per second of `train_seconds`."""
        return self.examples_seen / self.train_seconds if self.train_seconds > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Trained:
    """A result with the model that gave it.

    Attributes:
        model: as it was after the last step.
        best_weights: state of the best epoch where it was asked for, else None.
    """

    result: TrainingResult
    model: torch.nn.Module
    best_weights: dict[str, torch.Tensor] | None


OnEpoch = Callable[[EpochRecord], None]
OnBatch = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor", int], None]


class Engine(Protocol):
    """Trains one model."""

    def train(
        self,
        subset: Subset,
        spec: TrainingSpec,
        device: torch.device,
        on_epoch: OnEpoch | None = None,
        on_batch: OnBatch | None = None,
        keep_best: bool = False,
    ) -> Trained:
        """Trains on `subset.train`, judging by `subset.valid` after every epoch.

        Args:
            on_epoch: called after each finished epoch, outside of the measured time.
            on_batch: called at each training step with the positions in `subset.train`, the logits, the labels
                as the model counts them, and the epoch from 0; it must not change the tensors.
            keep_best: keep a copy of the weights of the best epoch.

        Raises:
            UserError: the subset cannot be trained on (fewer than 2 examples), or the precision is not to be had.
        """
        ...


@dataclass(frozen=True)
class EnginePlugin:
    """An engine before it is loaded: its libraries take seconds to import, which help and errors need not wait for.

    Attributes:
        description: what it is, for people.
        module, cls: where its class is.
    """

    description: str
    module: str
    cls: str


engines: Registry[EnginePlugin] = Registry("engine")
engines.add(
    "fastai", EnginePlugin("fastai's Learner, the reference", "proxyflow.training.fastai_engine", "FastaiEngine")
)
engines.add("fast", EnginePlugin("the same without its overhead", "proxyflow.training.fast_engine", "FastEngine"))
DEFAULT_ENGINE = next(iter(engines))


@lru_cache
def get_engine(name: str) -> Engine:
    """An engine by name, loaded once."""
    plugin = engines[name]
    with warnings.catch_warnings():
        # torchvision and fastai use parts of torch that are on their way out; users can do nothing about it.
        warnings.simplefilter("ignore")
        engine: Engine = getattr(import_module(plugin.module), plugin.cls)()
    return engine
