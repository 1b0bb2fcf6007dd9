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
    engine: str = "fast"


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
        skipped_steps: steps that the fp16 loss scaling left out, None in other precisions.
        precision, device: what really ran.
        execution: how the steps reached the device: `CUDA graph`, or `eager` and why.
        device_shared: whether others used it meanwhile, None where that cannot be told.
        threads: of the CPU, in one operation.
    """

    records: tuple[EpochRecord, ...]
    diverged: bool
    train_seconds: float
    setup_seconds: float
    examples_seen: int
    train_flops: float
    peak_memory_mb: float
    skipped_steps: int | None
    precision: str
    execution: str
    device: str
    device_shared: bool | None
    threads: int
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


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A training between two epochs: all that the rest of it depends on.

    Attributes:
        tensors: weights, optimizer's averages and weights of the best epoch, by name. They are the training's own,
            which the next epoch changes: whoever keeps them makes copies.
        records: the finished epochs.
        train_seconds, setup_seconds, examples_seen: what they cost.
    """

    tensors: dict[str, torch.Tensor]
    records: tuple[EpochRecord, ...]
    train_seconds: float
    setup_seconds: float
    examples_seen: int


OnEpoch = Callable[[EpochRecord], None]
OnState = Callable[[TrainingState], None]
OnModel = Callable[["torch.nn.Module", int], None]
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
        on_model: OnModel | None = None,
        keep_best: bool = False,
        start: TrainingState | None = None,
        on_state: OnState | None = None,
    ) -> Trained:
        """Trains on `subset.train`, judging by `subset.valid` after every epoch.

        Args:
            on_epoch: called after each finished epoch, outside of the measured time.
            on_batch: called at each training step with the positions in `subset.train`, the logits, the labels
                as the model counts them, and the epoch from 0; it must not change the tensors, and they are valid
                until the next step.
            on_model: called after each finished epoch with the model as it is then and the epoch from 1, outside of the
                measured time; it may put the model into eval mode, and must not change it otherwise.
            keep_best: keep a copy of the weights of the best epoch.
            start: go on from here; the result is that of an uninterrupted training, bit for bit on a CPU.
            on_state: called after each epoch with all that is needed to go on from there.

        Raises:
            UserError: the subset cannot be trained on (fewer than 2 examples), the precision is not to be had, or the
                engine cannot resume and is asked to.
        """
        ...


@dataclass(frozen=True)
class EnginePlugin:
    """An engine before it is loaded: its libraries take seconds to import, which help and errors need not wait for.

    Attributes:
        description: what it is, for people.
        module, cls: where its class is.
        resumes: it can go on from a `TrainingState`.
    """

    description: str
    module: str
    cls: str
    resumes: bool


engines: Registry[EnginePlugin] = Registry("engine")
engines.add(
    "fast",
    EnginePlugin(
        "a plain loop with fused optimizers, a CUDA graph on GPUs", "proxyflow.training.fast_engine", "FastEngine", True
    ),
)
engines.add(
    "fastai",
    EnginePlugin("fastai's Learner, the reference", "proxyflow.training.fastai_engine", "FastaiEngine", False),
)
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
