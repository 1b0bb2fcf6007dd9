"""Runs a distillation: iterations with their cost, images on the way, and a state to resume from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxyflow.core.errors import TrainingFailed, UserError
from proxyflow.data.images.store import ImageSet
from proxyflow.data.protocol import Dataset
from proxyflow.distillation.memory_estimate import MEMORY_ADVICE, check_memory, estimate_memory
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import Distiller, Step, make_distiller
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.scores.table import SelectionCost
from proxyflow.strategies.distillation_methods import Method
from proxyflow.subsets import Subset
from proxyflow.trainers.devices import synchronize
from proxyflow.trainers.images.arithmetic import FP32
from proxyflow.trainers.images.memory import explain_out_of_memory_with
from proxyflow.trainers.images.tf32 import fp32_arithmetic

# Number of intervals whose mean loss is reported.
INTERVALS = 100
# Intervals after which images are logged; early images change most.
PICTURED = (1, 3, 10, 30, 100)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DistillationState:
    """The complete state of a distillation after an iteration, with its cost.

    Attributes:
        tensors: tensors of the distiller itself; copy them to keep them.
        iteration: number of finished iterations.
        losses: mean loss of each interval, with the iterations finished by its end.
        loss_sum: sum of losses since the last interval.
        cost: cost so far.
        share: finished share of all floating-point operations, 0 to 1; pilot trainings may be most of them.
    """

    tensors: dict[str, Tensor]
    iteration: int
    losses: tuple[tuple[int, float], ...]
    loss_sum: float
    cost: SelectionCost
    share: float


@dataclass(frozen=True, eq=False)
class Distillation:
    """The result of a distillation.

    Attributes:
        subset: the 8-bit images to train on.
        learned: tensors in full precision: `images` (normalised), `labels`, and further ones of the method.
        losses: see `DistillationState`.
        cost: seconds, images passed through networks, floating-point operations.
        memory_bytes: estimated memory of an iteration.
        summary: details of the method's result.
        process: the distiller after its last iteration.
    """

    subset: Subset
    learned: dict[str, Tensor]
    losses: tuple[tuple[int, float], ...]
    cost: SelectionCost
    memory_bytes: float
    summary: dict[str, object]
    process: Distiller


OnLoss = Callable[[int, float], None]
OnStep = Callable[[int, float, Callable[[], DistillationState]], None]
OnPictures = Callable[[int, Pixels, NDArray[np.int64]], None]


def distill(
    dataset: Dataset,
    spec: DistillationSpec,
    device: torch.device,
    strategy: str,
    start: DistillationState | None = None,
    on_loss: OnLoss | None = None,
    on_step: OnStep | None = None,
    on_pictures: OnPictures | None = None,
) -> Distillation:
    """Makes synthetic images of a data set.

    Args:
        dataset: the real images.
        spec: number of images, method, size and seed.
        device: the device.
        strategy: canonical form of the strategy that the images are the subset of.
        start: state to resume from; on a CPU the images equal those of an uninterrupted distillation, bit for bit.
        on_loss: called after each hundredth of the iterations with the number of iterations and their mean loss.
        on_step: called after each iteration with the number of iterations, the finished share, and a function that
            returns the state. That function waits for the device; the callback's time is not measured.
        on_pictures: called after some intervals with the number of iterations, pixels `(n, size, size, channels)` and
            labels.

    Raises:
        UserError: the method does not support the data set, or there is not enough memory.
        TrainingFailed: the loss stopped being finite.
    """
    problem = Problem.of(dataset, spec, device)
    estimate = estimate_memory(spec.method, problem)
    check_memory(estimate.n_bytes, device)
    process = make_distiller(spec.method, problem)
    work = _Progress(process, spec.method, device, estimate.flops)
    if start is not None:
        work.restore(start)
    elif on_pictures is not None:
        on_pictures(0, problem.pixels(process.images), process.labels)
    ends, pictured = (
        {-(-process.iterations * number // INTERVALS) for number in numbers}
        for numbers in (range(1, INTERVALS + 1), PICTURED)
    )
    advice = f"with images_per_class={spec.images_per_class}; {MEMORY_ADVICE}"
    with explain_out_of_memory_with(device, advice), fp32_arithmetic(device, FP32):
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
        memory_bytes=estimate.n_bytes,
        summary=process.summary(),
        process=process,
    )


class _Progress:
    """Runs iterations of a distiller and keeps their number, losses and cost.

    Args:
        flops: floating-point operations of an iteration that does not count its own.
    """

    def __init__(self, process: Distiller, method: Method, device: torch.device, flops: float) -> None:
        self.process, self.method, self.device, self.flops = process, method, device, flops
        self.done, self.loss_sum, self.cost = 0, 0.0, SelectionCost()
        self.losses: list[tuple[int, float]] = []
        # Steps whose losses have not been read from the device, and the start of the first one.
        self._steps: list[Step] = []
        self._started = 0.0
        self._pilot_flops = process.pilot_flops()

    def restore(self, state: DistillationState) -> None:
        _restore(self.process, state.tensors)
        self.done, self.loss_sum, self.cost = state.iteration, state.loss_sum, state.cost
        self.losses = list(state.losses)

    def step(self) -> None:
        if not self._steps:
            self._started = time.perf_counter()
        self._steps.append(self.process.step(self.done))
        self.done += 1

    def state(self) -> DistillationState:
        self._settle()
        return DistillationState(
            self.process.state(), self.done, tuple(self.losses), self.loss_sum, self.cost, self.share
        )

    @property
    def share(self) -> float:
        """The finished share of all floating-point operations; a pilot training counts more than other iterations."""
        uniform_iterations, pilots = (
            self.process.uniform_iterations,
            self.process.iterations - self.process.uniform_iterations,
        )
        of_pilots = self._pilot_flops * max(self.done - uniform_iterations, 0) / max(pilots, 1)
        done = self.flops * min(self.done, uniform_iterations) + of_pilots
        return min(done / (self.flops * uniform_iterations + self._pilot_flops), 1.0)

    def end_interval(self) -> float:
        """Ends an interval; returns its mean loss."""
        self._settle()
        mean = self._mean
        self.losses.append((self.done, mean))
        self.loss_sum = 0.0
        return mean

    @property
    def _mean(self) -> float:
        return self.loss_sum / (self.done - (self.losses[-1][0] if self.losses else 0))

    def _settle(self) -> None:
        """Reads losses from the device, which waits for it, and adds the cost of the steps."""
        if not self._steps:
            return
        # Added one by one, so that the sum does not depend on when it is read.
        for loss in torch.stack([step.loss.double() for step in self._steps]).tolist():
            self.loss_sum += loss
        synchronize(self.device)
        self.cost += SelectionCost(
            time.perf_counter() - self._started,
            sum(step.examples for step in self._steps),
            sum(self.flops if step.flops is None else step.flops for step in self._steps),
        )
        self._steps = []
        if not np.isfinite(self.loss_sum) or not bool(torch.isfinite(self.process.images).all()):
            raise TrainingFailed(
                f"{self.method.name} diverged before iteration {self.done} with loss {self._mean}: {self.method.remedy}"
            )


def _restore(process: Distiller, tensors: Mapping[str, Tensor]) -> None:
    """Restores an untrusted state; checks that it fits."""
    shape = process.images.shape
    try:
        process.restore(tensors)
        fits = process.images.shape == shape
    except (KeyError, ValueError, IndexError, RuntimeError):  # RuntimeError: torch, for other shapes
        fits = False
    if not fits:
        raise UserError("the checkpoint does not fit this distillation: delete its run, or use another seed")


def subset_of(
    dataset: Dataset,
    spec: DistillationSpec,
    strategy: str,
    pixels: Pixels,
    labels: NDArray[np.int64],
    cost: SelectionCost,
) -> Subset:
    """Synthetic images as a subset, ordered by class, with the data set's validation and test examples."""
    return Subset(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        strategy=strategy,
        seed=spec.seed,
        class_names=dataset.class_names,
        classes=tuple(range(len(dataset.class_names))),
        train=ImageSet.of(pixels, labels, np.arange(len(pixels), dtype=np.int64)),
        valid=dataset.valid,
        test=dataset.test,
        scores=None,
        score_run="",
        # At another size, a network would see other images than those learned.
        preprocessing=dataset.preprocessing.at(spec.image_size),
        selection=cost,
        n_source=len(dataset.train),
    )


def estimate_seconds(dataset: Dataset, spec: DistillationSpec, device: torch.device, speed: float) -> float:
    """Estimates the time of a distillation: times its second iteration, and derives pilot trainings from their FLOPs.

    Args:
        speed: floating-point operations per second of trainings.

    Raises:
        UserError: the method does not support the data set, or there is not enough memory.
    """
    problem = Problem.of(dataset, spec, device)
    check_memory(estimate_memory(spec.method, problem).n_bytes, device)
    process = make_distiller(spec.method, problem)
    process.step(0)
    synchronize(device)
    started = time.perf_counter()
    loss = process.step(1 if process.uniform_iterations > 1 else 0).loss
    float(loss)
    return (time.perf_counter() - started) * process.uniform_iterations + process.pilot_flops() / speed
