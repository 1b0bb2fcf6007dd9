"""Distillation runs: synthetic images found on the tracking server by key, made, or made further."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.catalog import Dataset
from proxyflow.distillation.methods import Method
from proxyflow.distillation.methods.base import OWN
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.files import write_json
from proxyflow.progress import Progress
from proxyflow.strategies import Distilled, Strategy
from proxyflow.studies.keys import key_of_distillation
from proxyflow.studies.lab import Lab, dataset_params, once, scratch
from proxyflow.studies.resuming import forget_checkpoints, log_checkpoint, newest_checkpoint
from proxyflow.studies.subsets import load_subset, selection_metrics
from proxyflow.subsets import Subset
from proxyflow.subsets.artifact import write_subset
from proxyflow.tracking import names
from proxyflow.tracking.found import FoundRun
from proxyflow.tracking.links import plain
from proxyflow.tracking.reader import search

if TYPE_CHECKING:
    from proxyflow.distillation.distil import Distillation, Pixels, State
    from proxyflow.tracking.run import Run

# An interrupted distillation loses no more than this of its work, and the iteration that it was at.
CHECKPOINT_SECONDS = 30.0
PICTURES = f"{names.DISTILLATION}/pictures"


def spec_for(strategy: Strategy, image_size: int | None) -> DistillationSpec:
    """What makes a strategy's images: once, with the seed 0, at the size that they are trained on at.

    Args:
        image_size: None is the data set's own.
    """
    assert isinstance(strategy, Distilled)
    return DistillationSpec(strategy.count, strategy.made_by(), image_size)


def strategy_of(spec: DistillationSpec) -> Distilled:
    """The strategy that stands for such images; of the method's settings it has the iterations alone."""
    own = type(spec.method).__dataclass_fields__["iterations"].default
    iterations = spec.method.iterations
    return Distilled(spec.images_per_class, spec.method.name, OWN if iterations == own else iterations)


def find_distillation(lab: Lab, dataset: Dataset, spec: DistillationSpec) -> FoundRun | None:
    """The finished run that made these images, if there is one."""
    runs = search(lab.client, KIND="distillation", RUN_KEY=key_of_distillation(dataset, spec))
    return next((run for run in runs if run.finished), None)


def ensure_distillation(
    lab: Lab, dataset: Dataset, spec: DistillationSpec, parent_id: str | None = None
) -> tuple[Subset, str]:
    """The images as a subset, and its run's id: found on the server, or made now."""
    title = f"{strategy_of(spec).canonical} of {dataset.name}"

    def find() -> tuple[Subset, str] | None:
        found = find_distillation(lab, dataset, spec)
        if found is None:
            return None
        lab.say(f"{title}: found in run {found.id}")
        return load_subset(lab, found.id), found.id

    def make() -> tuple[Subset, str]:
        lab.say(f"{title}: none on the server, so making them, {spec.method.total:,} iterations")
        return make_distillation(lab, dataset, spec, parent_id, claim=True)

    return once(lab, "distillation", key_of_distillation(dataset, spec), title, find, make)


def check_distillation(lab: Lab, dataset: Dataset, spec: DistillationSpec) -> None:
    """Refuses images that could not be made here, before anything else is done.

    Raises:
        UserError: memory does not suffice, or the method cannot have this data set.
    """
    from proxyflow.distillation.problem import Problem
    from proxyflow.distillation.rehearsal import check_memory, rehearse

    problem = Problem.of(dataset, spec, lab.device)
    check_memory(rehearse(spec.method, problem).n_bytes, lab.device)


def make_distillation(
    lab: Lab,
    dataset: Dataset,
    spec: DistillationSpec,
    parent_id: str | None = None,
    main: bool = False,
    claim: bool = False,
) -> tuple[Subset, str]:
    """Makes synthetic images, or goes on where an interrupted run of the same stood, and logs them as a subset.

    Raises:
        Taken: with `claim`, where another process has or had these images.
        UserError: they cannot be made here.
        OutOfMemory: memory did not suffice after all.
    """
    from proxyflow.distillation.checkpoint import Checkpoint
    from proxyflow.distillation.distil import distil
    from proxyflow.distillation.rehearsal import LESS
    from proxyflow.training.devices import device_name
    from proxyflow.training.memory import explained_with

    begun = time.perf_counter()
    strategy, key = strategy_of(spec), key_of_distillation(dataset, spec)
    tags = _tags(dataset, strategy, spec.seed, key)
    if main:
        # A run whose process was killed is still marked as running, and would be left alone.
        lab.writer.reap()
    resumed = newest_checkpoint(lab, "distillation", key, Checkpoint.load, before=spec.method.total + 1)
    number = 0
    if resumed is not None:
        tags[names.RESUMED_FROM] = resumed.run_id
        begun -= resumed.checkpoint.wall_seconds
        number = resumed.checkpoint.number
        lab.say(f"going on after iteration {resumed.checkpoint.done:,} of run {resumed.run_id}")
    title = f"{dataset.name} · {strategy.canonical}"
    with lab.writer.open("distillation", title, _note(dataset, spec), tags, parent_id, main, claim) as run:
        run.log_params(_params(dataset, spec.method, spec))
        run.log_data(dataset.name, dataset.fingerprint, "source", len(dataset.train), len(dataset.class_names))
        with Progress(f"distilling {dataset.name}", spec.method.total, "iterations", work=1.0) as progress:
            kept_at, last_loss = time.monotonic(), ""

            def on_loss(iteration: int, loss: float) -> None:
                nonlocal last_loss
                run.log_metrics({"loss": loss}, step=iteration)
                last_loss = f"loss {loss:.4g}"

            def on_step(done: int, share: float, state: Callable[[], State]) -> None:
                nonlocal kept_at, number
                progress.advance(share - progress.done_work, last_loss)
                if time.monotonic() - kept_at >= CHECKPOINT_SECONDS:
                    number += 1
                    log_checkpoint(run, Checkpoint(state(), key, time.perf_counter() - begun, number))
                    kept_at = time.monotonic()

            start = None if resumed is None else resumed.checkpoint.state
            if start is not None:
                progress.skip(start.iteration, start.share)
                for iteration, loss in start.losses:
                    on_loss(iteration, loss)
            with explained_with(lab.device, f"with images_per_class={spec.images_per_class}; {LESS}"):
                made = distil(
                    dataset,
                    spec,
                    lab.device,
                    strategy.canonical,
                    start,
                    on_loss,
                    on_step,
                    lambda iteration, pixels, labels: _log_pictures(run, iteration, pixels, labels),
                )
        _log_files(run, spec, made, device_name(lab.device))
        run.log_params({"device": device_name(lab.device), "n_train": len(made.subset.train)})
        # With this the run can be found for what it holds; only now is that there.
        fingerprint = {names.SUBSET_FINGERPRINT: made.subset.fingerprint}
        run.log_metrics(_metrics(lab, dataset, made, wall_seconds=time.perf_counter() - begun), tags=fingerprint)
    # Only now that nothing can be lost any more.
    forget_checkpoints(lab, run.id, resumed)
    lab.subsets[run.id] = made.subset
    lab.say(
        f"{strategy.canonical} of {dataset.name}: {len(made.subset.train):,} images, made in run {run.id}, "
        f"{made.cost.train_seconds:.1f} s"
    )
    return made.subset, run.id


def _tags(dataset: Dataset, strategy: Distilled, seed: int, key: str) -> dict[str, Any]:
    return {
        names.DATASET: dataset.name,
        names.DATASET_FINGERPRINT: dataset.fingerprint,
        names.STRATEGY: strategy.canonical,
        names.SEED: seed,
        names.RUN_KEY: key,
    }


def _note(dataset: Dataset, spec: DistillationSpec) -> str:
    return (
        f"{spec.images_per_class} synthetic images per class in the place of the {len(dataset.train):,} training "
        f"examples of {plain(dataset.name)}, made by {spec.method.canonical}: {spec.method.summary}."
    )


def _params(dataset: Dataset, method: Method, spec: DistillationSpec) -> dict[str, Any]:
    return {
        **dataset_params(dataset),
        "strategy": strategy_of(spec).canonical,
        "method": method.name,
        "images_per_class": spec.images_per_class,
        "image_size": spec.image_size or dataset.image_size,
        "seed": spec.seed,
        "n_valid": len(dataset.valid),
        "n_classes": len(dataset.class_names),
        **dataclasses.asdict(method),
    }


def _metrics(lab: Lab, dataset: Dataset, made: Distillation, wall_seconds: float) -> dict[str, float | None]:
    return {
        "train_seconds": made.cost.train_seconds,
        "wall_seconds": wall_seconds,
        "examples_seen": made.cost.examples_seen,
        "train_flops": made.cost.train_flops,
        "estimated_memory_mb": made.memory_bytes / 2**20,
        "n_train": float(len(made.subset.train)),
        "fraction": len(made.subset.train) / len(dataset.train),
        "cost_usd": lab.cost_usd(wall_seconds),
    } | selection_metrics(made.subset.selection)


def _log_pictures(run: Run, iteration: int, pixels: Pixels, labels: NDArray[np.int64]) -> None:
    """Logs a sheet of the images as they are now."""
    from proxyflow.distillation.pictures import draw_sheet

    with scratch() as folder:
        draw_sheet(pixels, labels, folder / f"iteration-{iteration:06d}.png")
        run.log_folder(folder, PICTURES)


def _log_files(run: Run, spec: DistillationSpec, made: Distillation, device: str) -> None:
    """Logs the subset, and what was learnt in full precision beside it."""
    from safetensors.torch import save_file

    with scratch() as folder:
        write_subset(made.subset, folder / names.SUBSET)
        run.log_folder(folder / names.SUBSET, names.SUBSET)
    summary = {
        "spec": spec.described(made.subset.image_size),
        "losses": made.losses,
        "cost": dataclasses.asdict(made.cost),
        "device": device,
        "images": "images in learned.safetensors are normalised: pixels in 0..1 less mean, divided by std",
        "mean": made.subset.mean,
        "std": made.subset.std,
        **made.summary,
    }
    with scratch() as folder:
        save_file(made.learned, str(folder / "learned.safetensors"))
        write_json(folder / "summary.json", summary)
        run.log_folder(folder, names.DISTILLATION)
