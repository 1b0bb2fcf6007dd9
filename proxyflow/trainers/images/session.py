"""The part of a training that both engines share: set-up, clocks, epoch records, and the result."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from proxyflow.core.errors import InvalidValue
from proxyflow.data.images.batches import DeviceImages, Lesson, TrainBatches, ValidBatches
from proxyflow.data.images.store import ImageSet
from proxyflow.spaces.metric import ACCURACY
from proxyflow.trainers.devices import ContentionMonitor, device_name, peak_memory_mb, reset_peak_memory, synchronize
from proxyflow.trainers.images.arithmetic import Precision, memory_format_for, resolve_precision
from proxyflow.trainers.images.engine import TrainingState
from proxyflow.trainers.images.models import build_model, flops_per_example, seed_layers, set_memory_format
from proxyflow.trainers.images.steps import Tally, check_shapes
from proxyflow.trainers.images.weights import find_weights
from proxyflow.trainers.job import Job
from proxyflow.trainers.results import EpochRecord, Trained, TrainingResult

if TYPE_CHECKING:
    from proxyflow.trainers.images.trainer import ImageTrainer

EAGER = "eager"


@dataclass(eq=False)
class Session:
    """One training: batches and model on the device, counters and records.

    Attributes:
        started: start of the set-up.
        train_seconds: time of training and validation so far.
        valid_seconds: time of validation, part of `train_seconds`.
        diverged: whether a loss stopped being finite.
        stopped: whether the job asked to stop early.
        execution: how steps run (`eager`, `CUDA graph`), logged as a param.
        skipped_steps: steps skipped because fp16 gradients overflowed.
        graph_bytes: memory of CUDA graphs that torch's statistics lack, without graphs cached for other shapes.
    """

    trainer: ImageTrainer
    job: Job
    precision: Precision
    train: TrainBatches
    valid: ValidBatches
    model: nn.Module
    image_size: int
    started: float
    contention: ContentionMonitor
    execution: str = EAGER
    setup_seconds: float = 0.0
    train_seconds: float = 0.0
    valid_seconds: float = 0.0
    examples_seen: int = 0
    skipped_steps: int = 0
    graph_bytes: int = 0
    diverged: bool = False
    stopped: bool = False
    records: list[EpochRecord] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    _started: float | None = None
    _validating: float | None = None

    @staticmethod
    def prepare(trainer: ImageTrainer, job: Job) -> Session:
        """Creates batches and a new model on the device.

        Raises:
            UserError: the subset is too small, or the device does not support the precision.
        """
        started = time.perf_counter()
        trainer.check(job.subset)
        subset, device, configuration = job.subset, job.device, job.configuration
        preprocessing = subset.preprocessing.at(trainer.image_size)
        image_size = preprocessing.image_size
        precision = resolve_precision(trainer.precision, device, image_size)
        batch_size, presented = configuration["batch_size"], job.spec.proxy.data.presented(len(subset.train))
        # Refuses images that the network does not take; at the end, the count is there.
        flops_per_example(configuration, len(subset.classes), image_size, trainer.width)
        network = (*(configuration.get(name) for name in ("arch", "stem_channels_1", "stem_channels_2")), trainer.width)
        reset_peak_memory(device, (*network, image_size, min(batch_size, presented), precision))
        contention = ContentionMonitor(device)
        layout = memory_format_for(device, precision, image_size)
        train, valid = (
            DeviceImages(part, subset.classes, preprocessing, device, precision.dtype, layout)
            for part in (subset.train, subset.valid)
        )
        return Session(
            trainer=trainer,
            job=job,
            precision=precision,
            train=TrainBatches(train, batch_size, configuration["flip_probability"], job.seed, _lesson(job)),
            valid=ValidBatches(valid),
            model=set_memory_format(
                build_model(configuration, len(subset.classes), job.seed, trainer.width, image_size=image_size).to(
                    device
                ),
                layout,
            ),
            image_size=image_size,
            started=started,
            contention=contention,
        )

    @property
    def device(self) -> torch.device:
        """The device."""
        return self.job.device

    @property
    def loss(self) -> nn.CrossEntropyLoss:
        """The training loss."""
        return nn.CrossEntropyLoss(label_smoothing=self.job.configuration["label_smoothing"])

    @property
    def steps(self) -> int:
        """Steps that the optimizer took: one per batch, without skipped ones."""
        return self.examples_seen // self.train.batch_size - self.skipped_steps

    def ready(self) -> None:
        """Ends the set-up."""
        synchronize(self.device)
        self.setup_seconds += time.perf_counter() - self.started

    def start_clock(self) -> None:
        """Starts the clock of an epoch."""
        seed_layers(self.device, self.job.seed, len(self.records))
        synchronize(self.device)
        self._started = time.perf_counter()

    def start_validation(self) -> None:
        """Starts the validation of an epoch."""
        synchronize(self.device)
        self._validating = time.perf_counter()

    def stop_clock(self) -> float:
        """Stops the clock of an epoch; returns its seconds, 0 if it was stopped before."""
        if self._started is None:
            return 0.0
        synchronize(self.device)
        now = time.perf_counter()
        seconds = now - self._started
        self.train_seconds += seconds
        self.valid_seconds += 0.0 if self._validating is None else now - self._validating
        self._started = self._validating = None
        return seconds

    def end_epoch(self, train: Tally, valid: Tally) -> None:
        """Records an epoch; an epoch whose training loss diverged has no record."""
        # The only transfer of values from the device in an epoch.
        trained, ((valid_loss, hits, n_valid), _) = torch.stack((train.sums, valid.sums)).tolist()
        seconds = self.stop_clock()
        train_loss, valid_loss, accuracy = _mean_loss(trained), valid_loss / n_valid, hits / n_valid
        if not math.isfinite(train_loss):
            self.diverged = True
            return
        best = max((each.values[ACCURACY.name] for each in self.records), default=-1.0)
        if self.job.keep_best_weights and accuracy > best:
            state = self.model.state_dict()
            self.best_weights = {name: value.detach().clone() for name, value in state.items()}
        epoch = len(self.records) + 1
        values = {
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            ACCURACY.name: accuracy,
            "epoch_seconds": seconds,
        }
        self.records.append(EpochRecord(epoch, values))
        self.stopped = self.job.report(epoch, **values)
        # The last step of an epoch can diverge without affecting its training loss.
        self.diverged = not math.isfinite(valid_loss)

    def state(self, tensors: Mapping[str, Tensor]) -> TrainingState:
        """The complete state of this training; `tensors` is the state of its step."""
        best = {f"{BEST}{name}": value for name, value in (self.best_weights or {}).items()}
        return TrainingState(
            tensors={**tensors, **best},
            records=tuple(self.records),
            train_seconds=self.train_seconds,
            valid_seconds=self.valid_seconds,
            setup_seconds=self.setup_seconds,
            examples_seen=self.examples_seen,
        )

    def restore(self, state: TrainingState) -> None:
        """Restores a state, including its cost.

        Raises:
            UserError: the weights of its best epoch belong to another network.
        """
        self.records = list(state.records)
        self.train.epoch = len(state.records)
        self.train_seconds, self.setup_seconds = state.train_seconds, state.setup_seconds
        self.valid_seconds = state.valid_seconds
        self.examples_seen = state.examples_seen
        best = {name.removeprefix(BEST): t for name, t in state.tensors.items() if name.startswith(BEST)}
        if best:
            check_shapes(self.model.state_dict(), best)
        self.best_weights = {name: value.to(self.device) for name, value in best.items()} or None

    def trained(self) -> Trained:
        """The result with its model."""
        subset = self.job.subset
        flops = flops_per_example(self.job.configuration, len(subset.classes), self.image_size, self.trainer.width)
        metrics = {"peak_memory_mb": peak_memory_mb(self.device) + self.graph_bytes / 2**20}
        if self.precision.name == "fp16":
            metrics["skipped_steps"] = float(self.skipped_steps)
        params = {
            "precision_used": self.precision.name,
            "execution": self.execution,
            "steps": self.job.epochs * len(self.train),
            "device": device_name(self.device),
            "device_shared": self.contention.detected(),
            "threads": torch.get_num_threads(),
        }
        weights = find_weights(self.job.configuration, self.trainer.width)
        if weights is not None:
            params["weights_sha256"] = weights.sha256
        if subset.test is not None:
            # Last, so that times and memory do not include the test set.
            assert isinstance(subset.test, ImageSet)
            metrics["test_accuracy"] = self._test_accuracy(subset.test)
        result = TrainingResult(
            metric=ACCURACY,
            records=tuple(self.records),
            diverged=self.diverged,
            train_seconds=self.train_seconds,
            valid_seconds=self.valid_seconds,
            setup_seconds=self.setup_seconds,
            steps=self.steps,
            examples_seen=self.examples_seen,
            train_flops=flops * self.examples_seen,
            metrics=metrics,
            params=params,
        )
        return Trained(result, self.model, self.best_weights)

    @torch.no_grad()
    def _test_accuracy(self, test: ImageSet) -> float:
        """Test accuracy of the current model; 0 after divergence."""
        if self.diverged or not self.records:
            return 0.0
        preprocessing, layout = self.train.data.preprocessing, self.train.data.layout
        images = DeviceImages(test, self.job.subset.classes, preprocessing, self.device, self.precision.dtype, layout)
        hits, was_training = torch.zeros((), dtype=torch.int64, device=self.device), self.model.training
        self.model.eval()
        for x, y in ValidBatches(images):
            with torch.autocast(self.device.type, dtype=self.precision.dtype, enabled=self.precision.autocast):
                prediction = self.model(x)
            hits += ((prediction.argmax(1) == y) & prediction.isfinite().all(1)).sum()
        self.model.train(was_training)
        return int(hits) / len(test)


def _lesson(job: Job) -> Lesson | None:
    """What a curriculum presents; None where every epoch presents all examples."""
    curriculum, order = job.spec.proxy.data, job.subset.order
    if not curriculum.ranks:
        return None
    if order is None:
        rule = "the subset has no ranking; take one that materialize made with this strategy"
        raise InvalidValue("strategy", curriculum.canonical, rule)
    return Lesson(curriculum, order, job.epochs)


def _mean_loss(sums: list[list[float]]) -> float:
    """Mean training loss of an epoch from `Tally.sums`; nan if no loss was finite.

    If loss scaling skipped all steps, as in a short first epoch, the losses of the skipped steps are used.
    """
    (loss, _, examples), (skipped_loss, _, skipped) = sums
    if examples:
        return loss / examples
    return skipped_loss / skipped if skipped else math.nan


# Prefix of the best epoch's weights among a state's tensors.
BEST = "best."
