"""The reference engine: fastai's Learner, its optimizers and its one-cycle schedule."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from fastai.callback.core import Callback, CancelFitException, TrainEvalCallback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import Learner  # importing it adds fit_one_cycle
from fastai.optimizer import SGD, Adam, RMSProp
from torch.amp.grad_scaler import GradScaler

from proxyflow.core.errors import UserError
from proxyflow.data.images.batches import TrainBatches, ValidBatches
from proxyflow.trainers.images.arithmetic import Precision
from proxyflow.trainers.images.optimizers import ADAM_EPS, SQUARE_MOMENTUM, split_parameters
from proxyflow.trainers.images.schedule import DIV, DIV_FINAL, MOMENTA, PCT_START
from proxyflow.trainers.images.session import Session
from proxyflow.trainers.images.steps import Tally
from proxyflow.trainers.images.tf32 import fp32_arithmetic
from proxyflow.trainers.job import Job
from proxyflow.trainers.model_access import Hooks
from proxyflow.trainers.results import Trained

if TYPE_CHECKING:
    from proxyflow.trainers.images.trainer import ImageTrainer

# Settings of the published script (fastai's train_imagenette), all with decoupled weight decay. The schedule cycles the
# momentum of Adam and SGD. RMSProp has no momentum, and an eps of 1e-8, because fastai's ignores its argument.
OPTIMIZERS = {
    "adam": partial(Adam, mom=0.9, sqr_mom=SQUARE_MOMENTUM, eps=ADAM_EPS),
    "sgd": partial(SGD, mom=0.9),
    "rmsprop": partial(RMSProp, sqr_mom=SQUARE_MOMENTUM),
}


class Loaders:
    """The part of fastai's DataLoaders that a Learner uses."""

    n_inp = 1

    def __init__(self, train: TrainBatches, valid: ValidBatches, device: torch.device) -> None:
        self.train, self.valid, self.device = train, valid, device

    def __getitem__(self, index: int) -> TrainBatches | ValidBatches:
        return (self.train, self.valid)[index]


class DeviceMixedPrecision(MixedPrecision):  # type: ignore[misc]
    """fastai's mixed precision for any device; the original silently trains in fp32 on a CPU."""

    def __init__(self, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.device_type, self.precision = device.type, precision

    def before_fit(self) -> None:
        self.autocast = torch.autocast(self.device_type, dtype=self.precision.dtype)
        # Only fp16 needs loss scaling; bf16 has the range of fp32.
        scaled = self.precision.dtype == torch.float16
        self.learn.scaler = GradScaler(self.device_type, enabled=scaled)
        self.scales: list[float] = []


class Recording(Callback):  # type: ignore[misc]
    """Reports a fit to a session, and stops it if the loss is not finite."""

    order = 60  # after the optimizer's step and the scaler

    def __init__(self, session: Session, hooks: Hooks) -> None:
        self.session, self.hooks = session, hooks

    def before_fit(self) -> None:
        # fastai exempts norms and biases from weight decay, and would decay other vectors and scalars.
        for parameter in split_parameters(self.learn.model)[1]:
            self.learn.opt.state[parameter]["do_wd"] = False

    def before_epoch(self) -> None:
        self.session.start_clock()
        self.tallies = {part: Tally(self.session.device) for part in (True, False)}

    def before_validate(self) -> None:
        self.session.start_validation()

    def before_batch(self) -> None:
        self.skipped = False

    def after_pred(self) -> None:
        if self.training and self.hooks.on_batch is not None:
            self.hooks.on_batch(self.dls.train.index, self.learn.pred.detach(), self.learn.yb[0], self.epoch)

    def after_batch(self) -> None:
        labels, loss = self.learn.yb[0], self.learn.loss.detach()
        skipped = torch.tensor(self.skipped, device=loss.device)
        self.tallies[self.training].add(loss, self.learn.pred.detach(), labels, skipped)
        if self.training:
            self.session.examples_seen += len(labels)
            if not self.skipped and not torch.isfinite(loss):
                self.session.diverged = True
                raise CancelFitException()

    def after_cancel_step(self) -> None:
        self.skipped = True
        self.session.skipped_steps += 1

    def after_cancel_fit(self) -> None:
        self.session.stop_clock()

    def after_epoch(self) -> None:
        self.session.end_epoch(self.tallies[True], self.tallies[False])
        if self.session.diverged:
            raise CancelFitException()
        if self.hooks.on_model is not None:
            self.hooks.on_model(self.learn.model, self.epoch + 1)
        if self.session.stopped:
            raise CancelFitException()


class FastaiEngine:
    """fastai's Learner with its own optimizers."""

    def train(self, trainer: ImageTrainer, job: Job, hooks: Hooks) -> Trained:
        if job.start is not None or job.on_checkpoint is not None:
            raise UserError("engine=fastai has no checkpoints; use engine=fast to resume a training")
        session = Session.prepare(trainer, job)
        configuration = job.configuration
        callbacks: list[Any] = [TrainEvalCallback(), Recording(session, hooks)]
        if session.precision.autocast:
            callbacks.append(DeviceMixedPrecision(job.device, session.precision))
        learner = Learner(
            Loaders(session.train, session.valid, job.device),
            session.model,
            loss_func=session.loss,
            opt_func=OPTIMIZERS[configuration["optimizer"]],
            cbs=callbacks,
            default_cbs=False,
            moms=MOMENTA,
            wd=configuration["weight_decay"],
            wd_bn_bias=False,
            train_bn=True,
        )
        session.ready()
        with fp32_arithmetic(job.device, session.precision):
            learner.fit_one_cycle(
                job.epochs, configuration["learning_rate"], pct_start=PCT_START, div=DIV, div_final=DIV_FINAL
            )
            # Breaks the reference cycle between learner and callbacks, which would keep weights, gradients and
            # optimizer states of many trainings in memory until the garbage collector runs.
            learner.remove_cbs(list(learner.cbs))
            learner.opt = learner.model = learner.dls = None
            return session.trained()
