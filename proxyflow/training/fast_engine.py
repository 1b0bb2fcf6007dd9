"""The fast engine: a plain loop with fused optimizer steps that waits for the device once per epoch."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import astuple, replace

import torch
from torch import Tensor, nn

from proxyflow.errors import one_line
from proxyflow.subsets import Subset
from proxyflow.training.capture import CapturedStep, captured, forget
from proxyflow.training.engine import OnBatch, OnEpoch, OnModel, OnState, Trained, TrainingSpec, TrainingState
from proxyflow.training.optimizers import OPTIMIZERS
from proxyflow.training.schedule import OneCycle
from proxyflow.training.session import Session
from proxyflow.training.steps import Tally, TrainingStep


class FastEngine:
    """What fastai's Learner computes, without its overhead per step."""

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
        session = Session.prepare(subset, spec, device, on_epoch, keep_best)
        own = session.model
        epochs, steps = spec.settings.epochs, len(session.train)
        schedule = OneCycle.of(epochs * steps, spec.hyperparameters.learning_rate)
        step, take = _stepping(session, schedule)
        if start is not None:
            step.restore(start.tensors)
            session.restore(start)
        if device.type == "cuda":
            # The first pass loads its kernels, which is not this training's time.
            _validate(session, step)
        session.ready()
        for epoch in range(len(session.records), epochs):
            session.start_clock()
            step.tally.sums.zero_()
            step.model.train()
            for number, (x, y) in enumerate(session.train, start=epoch * steps):
                prediction = take(x, y, number)
                if on_batch is not None:
                    on_batch(session.train.index, prediction, y, epoch)
            session.examples_seen += session.train.examples
            session.end_epoch(step.tally, _validate(session, step))
            if session.diverged:
                break
            if on_model is not None:
                on_model(step.model, epoch + 1)
            if on_state is not None:
                on_state(session.state(step.state()))
        if step.scale:
            session.skipped_steps = int(step.scale.skipped)
        if step.model is not own:
            # A graph's model is the next training's as well.
            own.load_state_dict(step.model.state_dict())
            session.model = own
        return session.trained()


Take = Callable[[Tensor, Tensor, int], Tensor]


def _stepping(session: Session, schedule: OneCycle) -> tuple[TrainingStep, Take]:
    """How this training takes its steps: from a CUDA graph, or one operation after the other."""
    if session.device.type == "cuda":
        x, y = session.train.sample()
        try:
            graph = captured(_shape(session, x), session.model, lambda model: _step_of(session, model), x, y)
            session.graph_bytes = graph.reserved_bytes
        except RuntimeError as error:
            forget()
            session.execution = f"eager, as the step could not be recorded: {one_line(error)}"
        else:
            session.execution = "CUDA graph"
            session.model = graph.step.model
            return graph.step, _replaying(graph, _on_device(schedule, session.device))
    step = _step_of(session, session.model)
    if session.device.type == "cuda":
        return step, _eager_on_device(step, _on_device(schedule, session.device))
    rates, momenta = schedule.rates.tolist(), schedule.momenta.tolist()

    def by_numbers(x: Tensor, y: Tensor, number: int) -> Tensor:
        return step.by_numbers(x, y, rates[number], momenta[number])

    return step, by_numbers


def _step_of(session: Session, model: nn.Module) -> TrainingStep:
    spec = session.spec
    optimizer = OPTIMIZERS[spec.hyperparameters.optimizer](model, spec.settings.weight_decay)
    return TrainingStep(model, session.loss, optimizer, session.precision)


def _shape(session: Session, x: Tensor) -> Hashable:
    """All that a recorded step has built in; the learning rate and the schedule are not part of it."""
    chosen, settings = session.spec.hyperparameters, session.spec.settings
    built_in = astuple(replace(chosen, learning_rate=1.0, flip_probability=0.0))
    classes = len(session.subset.classes)
    return (built_in, settings.weight_decay, classes, tuple(x.shape), x.stride(), session.precision, session.device)


def _on_device(schedule: OneCycle, device: torch.device) -> Tensor:
    """`(steps, 2) float64` rates and momenta on the device."""
    columns = [torch.from_numpy(schedule.rates), torch.from_numpy(schedule.momenta)]
    return torch.stack(columns, dim=1).to(device)


def _eager_on_device(step: TrainingStep, knobs: Tensor) -> Take:
    def take(x: Tensor, y: Tensor, number: int) -> Tensor:
        step.knobs.copy_(knobs[number])
        return step.on_device(x, y)

    return take


def _replaying(graph: CapturedStep, knobs: Tensor) -> Take:
    def take(x: Tensor, y: Tensor, number: int) -> Tensor:
        graph.step.knobs.copy_(knobs[number])
        return graph(x, y)

    return take


@torch.no_grad()
def _validate(session: Session, step: TrainingStep) -> Tally:
    """One pass over the validation examples."""
    tally = Tally(session.device)
    step.model.eval()
    for x, y in session.valid:
        prediction = step.predict(x)
        tally.add(step.loss(prediction, y), prediction, y)
    return tally
