"""Runs a distillation: iterations with their clock and their cost, pictures on the way, and a state to go on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxyflow.data.catalog import Dataset
from proxyflow.data.images import ImageSet
from proxyflow.distillation.methods import Method
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import Process, Step, begin
from proxyflow.distillation.rehearsal import check_memory, rehearse
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.errors import TrainingFailed, UserError
from proxyflow.scoring.table import SelectionCost
from proxyflow.subsets import Subset
from proxyflow.training.devices import synchronize

# Losses are reported so often.
INTERVALS = 100
# The intervals at whose end images are pictured: early ones change most.
PICTURED = (1, 3, 10, 30, 100)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class State:
    """A distillation between two iterations: all that the rest of it depends on, and what it cost.

    Attributes:
        tensors: of the process, its own: whoever keeps them makes copies.
        iteration: how many are done.
        losses: mean loss of each interval, with the iterations done by its end.
        loss_sum: of the iterations since.
        cost: so far.
        share: of the whole distillation's operations, 0 to 1; a training among the iterations may be most of them.
    """

    tensors: dict[str, Tensor]
    iteration: int
    losses: tuple[tuple[int, float], ...]
    loss_sum: float
    cost: SelectionCost
    share: float


@dataclass(frozen=True, eq=False)
class Distillation:
    """What a distillation gave.

    Attributes:
        subset: the images as they are trained on, in 8 bits.
        learned: what was learnt in full precision: `images` (normalised), `labels`, and what the method has besides.
        losses: see `State`.
        cost: seconds of the iterations, images pushed through networks, floating-point operations.
        memory_bytes: what an iteration was estimated to take.
        summary: what the method has to say of its result.
        process: at its end.
    """

    subset: Subset
    learned: dict[str, Tensor]
    losses: tuple[tuple[int, float], ...]
    cost: SelectionCost
    memory_bytes: float
    summary: dict[str, object]
    process: Process


OnLoss = Callable[[int, float], None]
OnStep = Callable[[int, float, Callable[[], State]], None]
OnPictures = Callable[[int, Pixels, NDArray[np.int64]], None]


def distil(
    dataset: Dataset,
    spec: DistillationSpec,
    device: torch.device,
    strategy: str,
    start: State | None = None,
    on_loss: OnLoss | None = None,
    on_step: OnStep | None = None,
    on_pictures: OnPictures | None = None,
) -> Distillation:
    """Makes synthetic images of a data set.

    Args:
        strategy: canonical spelling of what the images are the subset of.
        start: go on from here; the images are those of an uninterrupted distillation, bit for bit on a CPU.
        on_loss: called after each hundredth of the iterations with the iterations done and their mean loss.
        on_step: called after each iteration with the iterations done, their share of the whole, and what gives the
            state. To ask for it takes waiting for the device; what is done with it is outside of the measured time.
        on_pictures: called now and then with the iterations done, pixels `(n, size, size, channels)` and labels.

    Raises:
        UserError: the data set is none that the method can have, or memory does not suffice.
        TrainingFailed: the loss stopped being finite.
    """
    problem = Problem.of(dataset, spec, device)
    rehearsal = rehearse(spec.method, problem)
    check_memory(rehearsal.n_bytes, device)
    process = begin(spec.method, problem)
    work = _Work(process, spec.method, device, rehearsal.flops)
    if start is not None:
        work.go_on_from(start)
    elif on_pictures is not None:
        on_pictures(0, problem.pixels(process.images), process.labels)
    ends, pictured = (
        {-(-process.iterations * number // INTERVALS) for number in numbers}
        for numbers in (range(1, INTERVALS + 1), PICTURED)
    )
    while work.done < process.iterations:
        work.step()
        if work.done in ends:
            loss = work.end_interval()
            if on_loss is not None:
                on_loss(work.done, loss)
            if on_pictures is not None and work.done in pictured:
                on_pictures(work.done, problem.pixels(process.images), process.labels)
        if on_step is not None:
            on_step(work.done, work.share, work.state)
    images = process.images.detach().float().cpu().contiguous()
    return Distillation(
        subset=subset_of(dataset, spec, strategy, problem.pixels(images), process.labels, work.cost),
        learned={
            "images": images,
            "labels": torch.from_numpy(process.labels.copy()),
            **{name: value.cpu().contiguous() for name, value in process.learned().items()},
        },
        losses=tuple(work.losses),
        cost=work.cost,
        memory_bytes=rehearsal.n_bytes,
        summary=process.summary(),
        process=process,
    )


class _Work:
    """A process at work: how many iterations are done, their losses and their cost.

    Args:
        flops: of an iteration that does not count its own.
    """

    def __init__(self, process: Process, method: Method, device: torch.device, flops: float) -> None:
        self.process, self.method, self.device, self.flops = process, method, device, flops
        self.done, self.loss_sum, self.cost = 0, 0.0, SelectionCost()
        self.losses: list[tuple[int, float]] = []
        # What the device may still be at, and since when.
        self._steps: list[Step] = []
        self._begun = 0.0
        self._pilot_flops = process.pilot_flops()

    def go_on_from(self, state: State) -> None:
        _restore(self.process, state.tensors)
        self.done, self.loss_sum, self.cost = state.iteration, state.loss_sum, state.cost
        self.losses = list(state.losses)

    def step(self) -> None:
        if not self._steps:
            self._begun = time.perf_counter()
        self._steps.append(self.process.step(self.done))
        self.done += 1

    def state(self) -> State:
        self._settle()
        return State(self.process.state(), self.done, tuple(self.losses), self.loss_sum, self.cost, self.share)

    @property
    def share(self) -> float:
        """What is done, as a share of all operations: a training among the iterations is worth many of the others."""
        alike, pilots = self.process.alike, self.process.iterations - self.process.alike
        of_pilots = self._pilot_flops * max(self.done - alike, 0) / max(pilots, 1)
        done = self.flops * min(self.done, alike) + of_pilots
        return min(done / (self.flops * alike + self._pilot_flops), 1.0)

    def end_interval(self) -> float:
        """The mean loss since the last one."""
        self._settle()
        mean = self._mean
        self.losses.append((self.done, mean))
        self.loss_sum = 0.0
        return mean

    @property
    def _mean(self) -> float:
        return self.loss_sum / (self.done - (self.losses[-1][0] if self.losses else 0))

    def _settle(self) -> None:
        """Waits for the device, and stops the clock until the next iteration."""
        if not self._steps:
            return
        # One after the other, so that the sum does not depend on when it was asked for.
        for loss in torch.stack([step.loss.double() for step in self._steps]).tolist():
            self.loss_sum += loss
        synchronize(self.device)
        self.cost += SelectionCost(
            time.perf_counter() - self._begun,
            sum(step.examples for step in self._steps),
            sum(self.flops if step.flops is None else step.flops for step in self._steps),
        )
        self._steps = []
        if not np.isfinite(self.loss_sum) or not bool(torch.isfinite(self.process.images).all()):
            raise TrainingFailed(
                f"{self.method.name} diverged before iteration {self.done}, its loss is {self._mean}: "
                f"{self.method.remedy}"
            )


def _restore(process: Process, tensors: Mapping[str, Tensor]) -> None:
    """Goes on from a state that whoever may write to a tracking server may have put there."""
    shape = process.images.shape
    try:
        process.restore(tensors)
        fits = process.images.shape == shape
    except (KeyError, ValueError, IndexError, RuntimeError):  # torch's own for other shapes is the last
        fits = False
    if not fits:
        raise UserError(
            "the checkpoint to go on from does not fit this distillation: delete its run, or use another seed"
        )


def subset_of(
    dataset: Dataset,
    spec: DistillationSpec,
    strategy: str,
    pixels: Pixels,
    labels: NDArray[np.int64],
    cost: SelectionCost,
) -> Subset:
    """Synthetic images as a subset, numbered by class, with the data set's own validation examples."""
    return Subset(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        strategy=strategy,
        seed=spec.seed,
        class_names=dataset.class_names,
        classes=tuple(range(len(dataset.class_names))),
        train=ImageSet.of(pixels, labels, np.arange(len(pixels), dtype=np.int64)),
        valid=dataset.valid,
        scores=None,
        score_run="",
        # At another, a network would see other images than were learnt.
        image_size=spec.image_size or dataset.image_size,
        crop=dataset.crop,
        mean=dataset.mean,
        std=dataset.std,
        selection=cost,
        n_source=len(dataset.train),
    )


def seconds_of(dataset: Dataset, spec: DistillationSpec, device: torch.device, speed: float) -> float:
    """About how long a distillation takes: its iterations by the second one, its trainings by their operations.

    Args:
        speed: floating-point operations per second that trainings reach.

    Raises:
        UserError: it could not be begun.
    """
    problem = Problem.of(dataset, spec, device)
    check_memory(rehearse(spec.method, problem).n_bytes, device)
    process = begin(spec.method, problem)
    process.step(0)
    synchronize(device)
    begun = time.perf_counter()
    loss = process.step(1 if process.alike > 1 else 0).loss
    float(loss)
    return (time.perf_counter() - begun) * process.alike + process.pilot_flops() / speed
