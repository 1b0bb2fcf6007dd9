"""The fast engine: a plain loop with fused optimizer steps that waits for the device once per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from proxyflow.subsets import Subset
from proxyflow.training.engine import OnBatch, OnEpoch, Trained, TrainingSpec
from proxyflow.training.optimizers import OPTIMIZERS, Optimizer
from proxyflow.training.schedule import OneCycle
from proxyflow.training.session import Session, Tally

# torch's GradScaler begins so and grows so.
FIRST_SCALE, GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0**16, 2.0, 0.5, 2000


class LossScale:
    """Keeps fp16 gradients in range (Micikevicius et al. 2018), with torch's own operations.

    A step whose gradients are not finite is left out, and the scale halved; that question is asked once per step, as
    fp16 without a captured graph has to.
    """

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.full((), FIRST_SCALE, device=device)
        self.since_growth = torch.zeros((), dtype=torch.int32, device=device)
        self.skipped = 0

    def step(self, optimizer: Optimizer, loss: Tensor, rate: float, momentum: float) -> None:
        """Scales a loss, takes its gradients and steps, unless they are not finite."""
        gradients = list(torch.autograd.grad(loss * self.scale, optimizer.parameters))
        not_finite = torch.zeros((), device=self.scale.device)
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, not_finite, self.scale.reciprocal())
        if not_finite.item():
            self.skipped += 1
        else:
            optimizer.step(gradients, rate, momentum)
        torch._amp_update_scale_(self.scale, self.since_growth, not_finite, GROWTH, BACKOFF, GROWTH_INTERVAL)


class FastEngine:
    """What fastai's Learner computes, without its overhead per step."""

    def train(
        self,
        subset: Subset,
        spec: TrainingSpec,
        device: torch.device,
        on_epoch: OnEpoch | None = None,
        on_batch: OnBatch | None = None,
        keep_best: bool = False,
    ) -> Trained:
        session = Session.prepare(subset, spec, device, on_epoch, keep_best)
        epochs = spec.settings.epochs
        schedule = OneCycle.of(epochs * len(session.train), spec.hyperparameters.learning_rate)
        optimizer = OPTIMIZERS[spec.hyperparameters.optimizer](session.model, spec.settings.weight_decay)
        scale = LossScale(device) if session.precision.name == "fp16" else None
        session.ready()
        for epoch in range(epochs):
            steps = slice(epoch * len(session.train), (epoch + 1) * len(session.train))
            session.start_clock()
            trained = _train_epoch(
                session, optimizer, scale, schedule.rates[steps].tolist(), schedule.momenta[steps].tolist(), on_batch
            )
            session.end_epoch(trained, _validate(session))
            if session.diverged:
                break
        return session.trained()


def _computing(session: Session) -> AbstractContextManager[object]:
    """The context in which the model computes in the training's precision."""
    precision = session.precision
    return torch.autocast(session.device.type, dtype=precision.dtype, enabled=precision.autocast)


def _in_full(session: Session, prediction: Tensor) -> Tensor:
    """Logits in the precision that losses are computed in."""
    return prediction.float() if session.precision.autocast else prediction


def _train_epoch(
    session: Session,
    optimizer: Optimizer,
    scale: LossScale | None,
    rates: Sequence[float],
    momenta: Sequence[float],
    on_batch: OnBatch | None,
) -> Tally:
    """One pass over the training examples."""
    model, loss_of, tally = session.model, session.loss, Tally(session.device)
    model.train()
    epoch = session.train.epoch
    for (x, y), rate, momentum in zip(session.train, rates, momenta, strict=True):
        with _computing(session):
            prediction = model(x)
        prediction = _in_full(session, prediction)
        loss = loss_of(prediction, y)
        if on_batch is not None:
            on_batch(session.train.index, prediction.detach(), y, epoch)
        if scale is not None:
            scale.step(optimizer, loss, rate, momentum)
        else:
            optimizer.step(torch.autograd.grad(loss, optimizer.parameters), rate, momentum)
        tally.add(loss.detach(), prediction.detach(), y)
        session.examples_seen += len(y)
    return tally


@torch.no_grad()
def _validate(session: Session) -> Tally:
    """One pass over the validation examples."""
    model, loss_of, tally = session.model, session.loss, Tally(session.device)
    model.eval()
    for x, y in session.valid:
        with _computing(session):
            prediction = _in_full(session, model(x))
        tally.add(loss_of(prediction, y), prediction, y)
    return tally
