"""What every engine does alike: bringing data and model to the device, counting, and the result at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from proxyflow.data.batches import DeviceImages, TrainBatches, ValidBatches, View
from proxyflow.errors import UserError
from proxyflow.subsets import Subset
from proxyflow.training.devices import (
    Neighbours,
    Precision,
    batch_layout,
    device_name,
    peak_memory_mb,
    reset_peak_memory,
    resolve_precision,
    synchronize,
)
from proxyflow.training.engine import EpochRecord, OnEpoch, Trained, TrainingResult, TrainingSpec, TrainingState
from proxyflow.training.models import build_model, flops_per_example, lay_out
from proxyflow.training.steps import Tally, check_fit

EAGER = "eager"


@dataclass(eq=False)
class Session:
    """One training: its batches and model on the device, and what has been counted so far.

    Attributes:
        begun: when the set-up began.
        train_seconds: training and validation so far.
        diverged: a loss stopped being finite.
        execution: how steps reach the device, for people.
        skipped_steps: left out because fp16 gradients overflowed.
        graph_bytes: memory that a CUDA graph holds, whether this training recorded it or an earlier one.
    """

    subset: Subset
    spec: TrainingSpec
    device: torch.device
    precision: Precision
    train: TrainBatches
    valid: ValidBatches
    model: nn.Module
    image_size: int
    on_epoch: OnEpoch | None
    keep_best: bool
    begun: float
    neighbours: Neighbours
    execution: str = EAGER
    setup_seconds: float = 0.0
    train_seconds: float = 0.0
    examples_seen: int = 0
    skipped_steps: int = 0
    graph_bytes: int = 0
    diverged: bool = False
    records: list[EpochRecord] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    _started: float | None = None

    @staticmethod
    def prepare(
        subset: Subset, spec: TrainingSpec, device: torch.device, on_epoch: OnEpoch | None, keep_best: bool
    ) -> Session:
        """Brings data and a new model to the device.

        Raises:
            UserError: the subset cannot be trained on, or the precision is not to be had.
        """
        begun = time.perf_counter()
        settings, hyperparameters = spec.settings, spec.hyperparameters
        if len(subset.train) < 2:
            raise UserError(
                f"the subset {subset.strategy} of {subset.dataset} has {len(subset.train)} training example; "
                "batch norm needs at least 2, so choose a larger fraction"
            )
        image_size = settings.image_size or subset.image_size
        precision = resolve_precision(settings.precision, device, image_size)
        batch_size = min(settings.batch_size, len(subset.train))
        network = (hyperparameters.arch, hyperparameters.stem_channels_1, hyperparameters.stem_channels_2)
        reset_peak_memory(device, (*network, image_size, batch_size, precision))
        neighbours = Neighbours(device)
        view = View(image_size, subset.crop, subset.mean, subset.std)
        layout = batch_layout(device, precision, image_size)
        train, valid = (
            DeviceImages(part, subset.classes, view, device, precision.dtype, layout)
            for part in (subset.train, subset.valid)
        )
        batches = TrainBatches(train, settings.batch_size, hyperparameters.flip_probability, spec.seed)
        model = lay_out(build_model(hyperparameters, len(subset.classes), spec.seed).to(device), layout)
        return Session(
            subset=subset,
            spec=spec,
            device=device,
            precision=precision,
            train=batches,
            valid=ValidBatches(valid),
            model=model,
            image_size=image_size,
            on_epoch=on_epoch,
            keep_best=keep_best,
            begun=begun,
            neighbours=neighbours,
        )

    @property
    def loss(self) -> nn.CrossEntropyLoss:
        """The training objective."""
        return nn.CrossEntropyLoss(label_smoothing=self.spec.hyperparameters.label_smoothing)

    def ready(self) -> None:
        """The set-up is done; what follows is training."""
        synchronize(self.device)
        self.setup_seconds += time.perf_counter() - self.begun

    def start_clock(self) -> None:
        """An epoch begins."""
        synchronize(self.device)
        self._started = time.perf_counter()

    def stop_clock(self) -> float:
        """Seconds since the epoch began, counted once."""
        if self._started is None:
            return 0.0
        synchronize(self.device)
        seconds = time.perf_counter() - self._started
        self._started = None
        self.train_seconds += seconds
        return seconds

    def end_epoch(self, train: Tally, valid: Tally) -> None:
        """Records an epoch, or that it diverged, in which case there is no record of it."""
        # The one time in an epoch that the device is asked for anything.
        (train_loss, _), (valid_loss, hits) = torch.stack((train.sums, valid.sums)).tolist()
        seconds = self.stop_clock()
        train_loss, n_valid = train_loss / self.train.examples, len(self.subset.valid)
        valid_loss, accuracy = valid_loss / n_valid, hits / n_valid
        if not math.isfinite(train_loss):
            self.diverged = True
            return
        record = EpochRecord(len(self.records) + 1, train_loss, valid_loss, accuracy, seconds)
        if self.keep_best and accuracy > max((r.valid_accuracy for r in self.records), default=-1):
            state = self.model.state_dict()
            self.best_weights = {name: value.detach().clone() for name, value in state.items()}
        self.records.append(record)
        if self.on_epoch is not None:
            self.on_epoch(record)
        # The last step of an epoch can blow up the weights with no further training loss to show it.
        self.diverged = not math.isfinite(valid_loss)

    def state(self, tensors: Mapping[str, Tensor]) -> TrainingState:
        """All that the rest of this training depends on; `tensors` are those of the steps."""
        best = {f"{BEST}{name}": value for name, value in (self.best_weights or {}).items()}
        return TrainingState(
            tensors={**tensors, **best},
            records=tuple(self.records),
            train_seconds=self.train_seconds,
            setup_seconds=self.setup_seconds,
            examples_seen=self.examples_seen,
        )

    def restore(self, state: TrainingState) -> None:
        """Goes on where another training of the same settings stood, what it cost included.

        Raises:
            UserError: the weights of its best epoch are of another network.
        """
        self.records = list(state.records)
        self.train.epoch = len(state.records)
        self.train_seconds, self.setup_seconds = state.train_seconds, state.setup_seconds
        self.examples_seen = state.examples_seen
        best = {name.removeprefix(BEST): t for name, t in state.tensors.items() if name.startswith(BEST)}
        if best:
            check_fit(self.model.state_dict(), best)
        self.best_weights = {name: value.to(self.device) for name, value in best.items()} or None

    def trained(self) -> Trained:
        """The result with its model."""
        subset, spec = self.subset, self.spec
        flops = flops_per_example(spec.hyperparameters, len(subset.classes), self.image_size)
        result = TrainingResult(
            records=tuple(self.records),
            diverged=self.diverged,
            train_seconds=self.train_seconds,
            setup_seconds=self.setup_seconds,
            examples_seen=self.examples_seen,
            train_flops=flops * self.examples_seen,
            peak_memory_mb=peak_memory_mb(self.device) + self.graph_bytes / 2**20,
            skipped_steps=self.skipped_steps if self.precision.name == "fp16" else None,
            precision=self.precision.name,
            execution=self.execution,
            device=device_name(self.device),
            device_shared=self.neighbours.seen(),
            threads=torch.get_num_threads(),
            n_train=len(subset.train),
            n_valid=len(subset.valid),
            n_classes=len(subset.classes),
        )
        return Trained(result, self.model, self.best_weights)


# Before the names of the best epoch's weights among a state's tensors.
BEST = "best."
