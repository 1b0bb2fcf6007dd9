"""The reference engine: fastai's Learner, its optimizers and its one-cycle schedule."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException, TrainEvalCallback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import Learner  # importing it adds fit_one_cycle
from fastai.optimizer import SGD, Adam, RMSProp
from torch import nn
from torch.amp.grad_scaler import GradScaler

from proxyflow.data.batches import DeviceImages, TrainBatches, ValidBatches, View
from proxyflow.errors import UserError
from proxyflow.subsets import Subset
from proxyflow.training.devices import (
    Precision,
    batch_layout,
    device_name,
    peak_memory_mb,
    reset_peak_memory,
    resolve_precision,
    synchronize,
)
from proxyflow.training.engine import (
    EpochRecord,
    OnBatch,
    OnEpoch,
    Trained,
    TrainingResult,
    TrainingSpec,
)
from proxyflow.training.models import build_model, flops_per_example

# The published script's settings (fastai's train_imagenette); all decay weights decoupled. The momentum of
# Adam and SGD is cycled by the schedule; RMSProp has none, as in its definition, and an eps of 1e-8: fastai's
# takes the argument but does not use it.
OPTIMIZERS = {
    "adam": partial(Adam, mom=0.9, sqr_mom=0.99, eps=1e-6),
    "sgd": partial(SGD, mom=0.9),
    "rmsprop": partial(RMSProp, sqr_mom=0.99),
}
PCT_START, DIV = 0.3, 10


class Loaders:
    """The little of fastai's DataLoaders that a Learner uses."""

    n_inp = 1

    def __init__(self, train: TrainBatches, valid: ValidBatches, device: torch.device) -> None:
        self.train, self.valid, self.device = train, valid, device

    def __getitem__(self, index: int) -> TrainBatches | ValidBatches:
        return (self.train, self.valid)[index]


class DeviceMixedPrecision(MixedPrecision):  # type: ignore[misc]
    """fastai's mixed precision on any device: its own is written for CUDA and trains in fp32 on a CPU, silently."""

    def __init__(self, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.device_type, self.precision = device.type, precision

    def before_fit(self) -> None:
        self.autocast = torch.autocast(self.device_type, dtype=self.precision.dtype)
        # bf16 has the range of fp32, so only fp16 gradients have to be scaled.
        scaled = self.precision.dtype == torch.float16
        self.learn.scaler = GradScaler(self.device_type, enabled=scaled)
        self.scales: list[float] = []


class Recording(Callback):  # type: ignore[misc]
    """Sums up losses and hits on the device, keeps time, and ends a training whose loss is not finite."""

    order = 60  # after the optimizer's step and the scaler

    def __init__(
        self, device: torch.device, on_epoch: OnEpoch | None, on_batch: OnBatch | None, keep_best: bool
    ) -> None:
        self.device, self.on_epoch, self.on_batch, self.keep_best = device, on_epoch, on_batch, keep_best
        self.records: list[EpochRecord] = []
        self.diverged = False
        self.examples_seen = 0
        self.train_seconds = 0.0
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.started: float | None = None

    def before_epoch(self) -> None:
        synchronize(self.device)
        self.started = time.perf_counter()
        self.sums = {part: torch.zeros(3, device=self.device, dtype=torch.float64) for part in (True, False)}

    def after_pred(self) -> None:
        if self.training and self.on_batch is not None:
            self.on_batch(self.dls.train.index, self.learn.pred.detach(), self.learn.yb[0], self.epoch)

    def after_batch(self) -> None:
        prediction, labels, loss = self.learn.pred, self.learn.yb[0], self.learn.loss.detach()
        n = len(labels)
        # A prediction that is not a number is wrong, not class 0 as argmax has it.
        hits = (prediction.argmax(1) == labels) & prediction.isfinite().all(1)
        self.sums[self.training] += torch.stack([loss.double() * n, hits.sum().double(), loss.new_tensor(n).double()])
        if self.training:
            self.examples_seen += n
            if not torch.isfinite(loss):
                self.diverged = True
                raise CancelFitException()

    def _stop_clock(self) -> float:
        if self.started is None:
            return 0.0
        synchronize(self.device)
        seconds = time.perf_counter() - self.started
        self.started = None
        self.train_seconds += seconds
        return seconds

    def after_cancel_fit(self) -> None:
        self._stop_clock()

    def after_epoch(self) -> None:
        seconds = self._stop_clock()
        train_loss, _, n_train = self.sums[True].tolist()
        valid_loss, hits, n_valid = self.sums[False].tolist()
        record = EpochRecord(self.epoch + 1, train_loss / n_train, valid_loss / n_valid, hits / n_valid, seconds)
        if self.keep_best and record.valid_accuracy > max((r.valid_accuracy for r in self.records), default=-1):
            state = self.learn.model.state_dict()
            self.best_weights = {name: value.detach().clone() for name, value in state.items()}
        self.records.append(record)
        if self.on_epoch is not None:
            self.on_epoch(record)
        if not math.isfinite(record.valid_loss):
            # The last step of an epoch can blow up the weights with no further training loss to show it.
            self.diverged = True
            raise CancelFitException()


class FastaiEngine:
    """fastai's Learner with its own optimizers."""

    def train(
        self,
        subset: Subset,
        spec: TrainingSpec,
        device: torch.device,
        on_epoch: OnEpoch | None = None,
        on_batch: OnBatch | None = None,
        keep_best: bool = False,
    ) -> Trained:
        begun = time.perf_counter()
        settings, hyperparameters = spec.settings, spec.hyperparameters
        if len(subset.train) < 2:
            raise UserError(
                f"the subset {subset.strategy} of {subset.dataset} has {len(subset.train)} training example; "
                "batch norm needs at least 2, so choose a larger fraction"
            )
        precision = resolve_precision(settings.precision, device)
        reset_peak_memory(device)
        image_size = settings.image_size or subset.image_size
        view = View(image_size, subset.crop, subset.mean, subset.std)
        layout = batch_layout(device, precision, image_size)
        train, valid = (
            DeviceImages(part, subset.classes, view, device, precision.dtype, layout)
            for part in (subset.train, subset.valid)
        )
        batches = TrainBatches(train, settings.batch_size, hyperparameters.flip_probability, spec.seed)
        model = build_model(hyperparameters, len(subset.classes), spec.seed).to(device)
        recording = Recording(device, on_epoch, on_batch, keep_best)
        callbacks: list[Any] = [TrainEvalCallback(), recording]
        if precision.autocast:
            callbacks.append(DeviceMixedPrecision(device, precision))
        learner = Learner(
            Loaders(batches, ValidBatches(valid), device),
            model,
            loss_func=nn.CrossEntropyLoss(label_smoothing=hyperparameters.label_smoothing),
            opt_func=OPTIMIZERS[hyperparameters.optimizer],
            cbs=callbacks,
            default_cbs=False,
            wd=settings.weight_decay,
            wd_bn_bias=False,
            train_bn=True,
        )
        synchronize(device)
        setup_seconds = time.perf_counter() - begun
        learner.fit_one_cycle(settings.epochs, hyperparameters.learning_rate, pct_start=PCT_START, div=DIV)
        # A learner and its callbacks refer to each other, so a study would hold the weights, gradients and
        # optimizer states of many trainings until Python's collector happens to run.
        learner.remove_cbs(list(learner.cbs))
        learner.opt = learner.model = learner.dls = None
        flops = flops_per_example(hyperparameters, len(subset.classes), image_size)
        result = TrainingResult(
            records=tuple(recording.records),
            diverged=recording.diverged,
            train_seconds=recording.train_seconds,
            setup_seconds=setup_seconds,
            examples_seen=recording.examples_seen,
            train_flops=flops * recording.examples_seen,
            peak_memory_mb=peak_memory_mb(device),
            precision=precision.name,
            device=device_name(device),
            n_train=len(subset.train),
            n_valid=len(subset.valid),
            n_classes=len(subset.classes),
        )
        return Trained(result, model, recording.best_weights)
