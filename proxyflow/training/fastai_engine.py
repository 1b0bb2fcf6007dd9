"""The reference engine: fastai's Learner, its optimizers and its one-cycle schedule."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException, TrainEvalCallback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import Learner  # importing it adds fit_one_cycle
from fastai.optimizer import SGD, Adam, RMSProp
from torch.amp.grad_scaler import GradScaler

from proxyflow.data.batches import TrainBatches, ValidBatches
from proxyflow.errors import UserError
from proxyflow.subsets import Subset
from proxyflow.training.devices import Precision
from proxyflow.training.engine import OnBatch, OnEpoch, OnModel, OnState, Trained, TrainingSpec, TrainingState
from proxyflow.training.optimizers import ADAM_EPS, SQUARE_MOMENTUM
from proxyflow.training.schedule import DIV, DIV_FINAL, MOMENTA, PCT_START
from proxyflow.training.session import Session
from proxyflow.training.steps import Tally

# The published script's settings (fastai's train_imagenette); all decay weights decoupled. The momentum of
# Adam and SGD is cycled by the schedule; RMSProp has none, as in its definition, and an eps of 1e-8: fastai's
# takes the argument but does not use it.
OPTIMIZERS = {
    "adam": partial(Adam, mom=0.9, sqr_mom=SQUARE_MOMENTUM, eps=ADAM_EPS),
    "sgd": partial(SGD, mom=0.9),
    "rmsprop": partial(RMSProp, sqr_mom=SQUARE_MOMENTUM),
}


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
    """Tells a session what happens in a fit, and ends one whose loss is not finite."""

    order = 60  # after the optimizer's step and the scaler

    def __init__(self, session: Session, on_batch: OnBatch | None, on_model: OnModel | None) -> None:
        self.session, self.on_batch, self.on_model = session, on_batch, on_model

    def before_epoch(self) -> None:
        self.session.start_clock()
        self.tallies = {part: Tally(self.session.device) for part in (True, False)}

    def after_pred(self) -> None:
        if self.training and self.on_batch is not None:
            self.on_batch(self.dls.train.index, self.learn.pred.detach(), self.learn.yb[0], self.epoch)

    def after_batch(self) -> None:
        labels, loss = self.learn.yb[0], self.learn.loss.detach()
        self.tallies[self.training].add(loss, self.learn.pred.detach(), labels)
        if self.training:
            self.session.examples_seen += len(labels)
            if not torch.isfinite(loss):
                self.session.diverged = True
                raise CancelFitException()

    def after_cancel_step(self) -> None:
        self.session.skipped_steps += 1

    def after_cancel_fit(self) -> None:
        self.session.stop_clock()

    def after_epoch(self) -> None:
        self.session.end_epoch(self.tallies[True], self.tallies[False])
        if self.session.diverged:
            raise CancelFitException()
        if self.on_model is not None:
            self.on_model(self.learn.model, self.epoch + 1)


class FastaiEngine:
    """fastai's Learner with its own optimizers."""

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
        if start is not None or on_state is not None:
            raise UserError("engine=fastai keeps no state between epochs; use engine=fast to resume a training")
        session = Session.prepare(subset, spec, device, on_epoch, keep_best)
        settings, hyperparameters = spec.settings, spec.hyperparameters
        callbacks: list[Any] = [TrainEvalCallback(), Recording(session, on_batch, on_model)]
        if session.precision.autocast:
            callbacks.append(DeviceMixedPrecision(device, session.precision))
        learner = Learner(
            Loaders(session.train, session.valid, device),
            session.model,
            loss_func=session.loss,
            opt_func=OPTIMIZERS[hyperparameters.optimizer],
            cbs=callbacks,
            default_cbs=False,
            moms=MOMENTA,
            wd=settings.weight_decay,
            wd_bn_bias=False,
            train_bn=True,
        )
        session.ready()
        learner.fit_one_cycle(
            settings.epochs, hyperparameters.learning_rate, pct_start=PCT_START, div=DIV, div_final=DIV_FINAL
        )
        # A learner and its callbacks refer to each other, so a study would hold the weights, gradients and
        # optimizer states of many trainings until Python's collector happens to run.
        learner.remove_cbs(list(learner.cbs))
        learner.opt = learner.model = learner.dls = None
        return session.trained()
