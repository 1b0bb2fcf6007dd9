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
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import Process, begin
from proxyflow.distillation.rehearsal import check_memory, rehearse
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.errors import TrainingFailed, UserError
from proxyflow.scoring.table import SelectionCost
from proxyflow.subsets import Subset
from proxyflow.training.devices import synchronize

# Losses are reported, and states offered, so often.
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
        cost: so far.
    """

    tensors: dict[str, Tensor]
    iteration: int
    losses: tuple[tuple[int, float], ...]
    cost: SelectionCost


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


OnInterval = Callable[[State], None]
OnPictures = Callable[[int, Pixels, NDArray[np.int64]], None]


def distil(
    dataset: Dataset,
    spec: DistillationSpec,
    device: torch.device,
    strategy: str,
    start: State | None = None,
    on_interval: OnInterval | None = None,
    on_pictures: OnPictures | None = None,
) -> Distillation:
    """Makes synthetic images of a data set.

    Args:
        strategy: canonical spelling of what the images are the subset of.
        start: go on from here; the images are those of an uninterrupted distillation, bit for bit on a CPU.
        on_interval: called after each hundredth of the iterations, outside of the measured time.
        on_pictures: called now and then with the iterations done, pixels `(n, size, size, channels)` and labels.

    Raises:
        UserError: the data set is none that the method can have, or memory does not suffice.
        TrainingFailed: the loss stopped being finite.
    """
    problem = Problem.of(dataset, spec, device)
    rehearsal = rehearse(spec.method, problem)
    check_memory(rehearsal.n_bytes, device)
    process = begin(spec.method, problem)
    done, losses, cost = 0, [], SelectionCost()
    if start is not None:
        _restore(process, start.tensors)
        done, losses, cost = start.iteration, list(start.losses), start.cost
    elif on_pictures is not None:
        on_pictures(0, problem.pixels(process.images), process.labels)
    ends = sorted({-(-process.iterations * number // INTERVALS) for number in range(1, INTERVALS + 1)})
    pictured = {-(-process.iterations * number // INTERVALS) for number in PICTURED}
    for end in ends:
        if end <= done:
            continue
        begun, steps = time.perf_counter(), []
        for iteration in range(done, end):
            steps.append(process.step(iteration))
        # The one time in an interval that the device is asked for anything.
        loss = float(torch.stack([step.loss.double() for step in steps]).mean())
        synchronize(device)
        cost += SelectionCost(
            time.perf_counter() - begun,
            sum(step.examples for step in steps),
            sum(rehearsal.flops if step.flops is None else step.flops for step in steps),
        )
        done = end
        losses.append((done, loss))
        if not np.isfinite(loss) or not bool(torch.isfinite(process.images).all()):
            raise TrainingFailed(
                f"{spec.method.name} diverged before iteration {done}, its loss is {loss}: use a smaller learning_rate"
            )
        if on_interval is not None:
            on_interval(State(process.state(), done, tuple(losses), cost))
        if on_pictures is not None and done in pictured:
            on_pictures(done, problem.pixels(process.images), process.labels)
    images = process.images.detach().float().cpu().contiguous()
    return Distillation(
        subset=subset_of(dataset, spec, strategy, problem.pixels(images), process.labels, cost),
        learned={
            "images": images,
            "labels": torch.from_numpy(process.labels.copy()),
            **{name: value.cpu().contiguous() for name, value in process.learned().items()},
        },
        losses=tuple(losses),
        cost=cost,
        memory_bytes=rehearsal.n_bytes,
        summary=process.summary(),
        process=process,
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
        image_size=spec.image_size
        or dataset.image_size,  # at another, a network would see other images than were learnt
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
