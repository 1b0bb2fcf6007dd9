"""The fast engine: a plain training loop with fused optimizer steps that synchronizes twice per epoch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from proxyflow.core.errors import one_line
from proxyflow.trainers.devices import with_index
from proxyflow.trainers.images.capture import CapturedTraining, Recorder, graphs_of
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
from proxyflow.trainers.images.optimizers import OPTIMIZERS
from proxyflow.trainers.images.schedule import OneCycle
from proxyflow.trainers.images.session import Session
from proxyflow.trainers.images.steps import TrainingStep
from proxyflow.trainers.images.tf32 import fp32_arithmetic
from proxyflow.trainers.job import Job
from proxyflow.trainers.model_access import Hooks
from proxyflow.trainers.results import Trained

if TYPE_CHECKING:
    from proxyflow.trainers.images.trainer import ImageTrainer


class FastEngine:
    """Computes what fastai's Learner computes, without its overhead per step."""

    def train(self, trainer: ImageTrainer, job: Job, hooks: Hooks) -> Trained:
        session = Session.prepare(trainer, job)
        schedule = OneCycle.of(job.epochs * len(session.train), job.configuration["learning_rate"])
        with fp32_arithmetic(job.device, session.precision):
            with make_step_runner(session, schedule) as runner:
                if isinstance(job.start, TrainingCheckpoint):
                    runner.step.restore(job.start.state.tensors)
                    session.restore(job.start.state)
                if job.device.type == "cuda":
                    # Loads kernels before the measured time.
                    _validate(session, runner)
                session.ready()
                _run(session, runner, hooks)
            return session.trained()


StepFn = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True, eq=False)
class StepRunner:
    """Runs steps, eagerly or from CUDA graphs.

    Attributes:
        step: the step with its model and optimizer.
        take: takes a step with a batch and the step's number; returns the logits.
        validate: evaluates a validation batch.
    """

    step: TrainingStep
    take: StepFn
    validate: Callable[[Tensor, Tensor], None]


def _run(session: Session, runner: StepRunner, hooks: Hooks) -> None:
    """Trains for the remaining epochs."""
    step, steps = runner.step, len(session.train)
    for epoch in range(len(session.records), session.job.epochs):
        session.start_clock()
        step.tally.reset()
        step.model.train()
        for number, (x, y) in enumerate(session.train, start=epoch * steps):
            prediction = runner.take(x, y, number)
            if hooks.on_batch is not None:
                hooks.on_batch(session.train.index, prediction, y, epoch)
        session.examples_seen += session.train.examples
        session.start_validation()
        _validate(session, runner)
        session.end_epoch(step.tally, step.valid)
        if session.diverged:
            break
        if hooks.on_model is not None:
            hooks.on_model(step.model, epoch + 1)
        if session.job.on_checkpoint is not None:
            session.job.on_checkpoint(_checkpoint(session, step))
        if session.stopped:
            break
    if step.scale:
        session.skipped_steps = int(step.scale.skipped)


def _checkpoint(session: Session, step: TrainingStep) -> TrainingCheckpoint:
    job = session.job
    return TrainingCheckpoint(session.state(step.state()), job.run_key, time.perf_counter() - job.started)


@contextmanager
def make_step_runner(session: Session, schedule: OneCycle) -> Iterator[StepRunner]:
    """Yields a runner: from CUDA graphs if possible, else eager."""
    if session.device.type != "cuda":
        step = _step_of(session, session.model)
        yield StepRunner(step, _by_numbers(step, schedule), step.validate)
        return
    lr_and_momentum = _on_device(schedule, session.device)
    with ExitStack() as lent:
        graph = _borrow(session, lent)
        if graph is None:
            step = _step_of(session, session.model)
            yield StepRunner(step, _with(lr_and_momentum, step, step.on_device), step.validate)
            return
        own, session.model = session.model, graph.step.model
        yield StepRunner(graph.step, _with(lr_and_momentum, graph.step, graph.take), graph.validate)
        # The next training of this shape uses the graph's model, too.
        own.load_state_dict(graph.step.model.state_dict())
        session.model = own


def _borrow(session: Session, lent: ExitStack) -> CapturedTraining | None:
    """The graphs of this training's shape, borrowed until `lent` closes; None if capture failed."""
    batch, valid_batch = session.train.sample(), next(iter(session.valid))
    graphs = graphs_of(with_index(session.device))

    def record(recorder: Recorder, pool: Any) -> CapturedTraining:
        step = _step_of(session, copy.deepcopy(session.model))
        return CapturedTraining(step, batch, valid_batch, recorder, pool)

    try:
        graph = lent.enter_context(graphs.lend(_shape(session, batch[0], valid_batch[0]), record))
    except RuntimeError as error:
        session.execution = f"eager, because the step could not be captured: {one_line(error)}"
        return None
    graph.begin(session.model.state_dict())
    session.execution = "CUDA graph"
    session.graph_bytes = graph.reserved_bytes - graphs.nbytes
    return graph


def _step_of(session: Session, model: nn.Module) -> TrainingStep:
    configuration = session.job.configuration
    optimizer = OPTIMIZERS[configuration["optimizer"]](model, configuration["weight_decay"])
    return TrainingStep(model, session.loss, optimizer, session.precision)


def _shape(session: Session, x: Tensor, valid_x: Tensor) -> Hashable:
    """Everything that a captured step depends on; learning rate and schedule are inputs instead."""
    built_in = session.job.configuration.replace(learning_rate=1.0, flip_probability=0.0)
    classes = len(session.job.subset.classes)
    batches = tuple((tuple(each.shape), each.stride()) for each in (x, valid_x))
    return (built_in, session.trainer.width, classes, batches, session.precision)


def _on_device(schedule: OneCycle, device: torch.device) -> Tensor:
    """`(steps, 2) float64` rates and momenta on the device."""
    columns = [torch.from_numpy(schedule.rates), torch.from_numpy(schedule.momenta)]
    return torch.stack(columns, dim=1).to(device)


def _by_numbers(step: TrainingStep, schedule: OneCycle) -> StepFn:
    rates, momenta = schedule.rates.tolist(), schedule.momenta.tolist()

    def take(x: Tensor, y: Tensor, number: int) -> Tensor:
        return step.by_numbers(x, y, rates[number], momenta[number])

    return take


def _with(lr_and_momentum: Tensor, step: TrainingStep, run: Callable[[Tensor, Tensor], Tensor]) -> StepFn:
    """A step function that sets rate and momentum on the device, then calls `run`."""

    def take(x: Tensor, y: Tensor, number: int) -> Tensor:
        step.lr_and_momentum.copy_(lr_and_momentum[number])
        return run(x, y)

    return take


def _validate(session: Session, runner: StepRunner) -> None:
    """Evaluates all validation examples into `step.valid`."""
    step = runner.step
    step.valid.reset()
    step.model.eval()
    for x, y in session.valid:
        runner.validate(x, y)
