"""Distillation runs: finds synthetic images on the tracking server by key, or makes them, resuming where possible."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.files import write_json
from proxyflow.core.progress import Progress
from proxyflow.data.catalog import Dataset
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.strategies import Distilled
from proxyflow.strategies.distillation_methods import Method
from proxyflow.strategies.distillation_methods.base import OWN
from proxyflow.studies.checkpoints import Resumed, forget_checkpoints, log_checkpoint, newest_checkpoint
from proxyflow.studies.context import StudyContext, dataset_params, find_finished, find_or_make, temporary_folder
from proxyflow.studies.keys import key_of_distillation
from proxyflow.studies.subsets import load_subset, selection_metrics
from proxyflow.subsets import Subset
from proxyflow.subsets.artifact import write_subset
from proxyflow.tracking import names
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.ui.links import escape_markdown

if TYPE_CHECKING:
    from proxyflow.distillation.checkpoint import DistillationCheckpoint
    from proxyflow.distillation.distill import Distillation, DistillationState, Pixels
    from proxyflow.tracking.runs.run import Run

# Time between checkpoints, and so the most work that an interruption loses, besides the current iteration.
CHECKPOINT_SECONDS = 30.0
PICTURES = f"{names.DISTILLATION}/pictures"


def strategy_of(spec: DistillationSpec) -> Distilled:
    """The strategy that trains on these images; it carries only the iterations of the method's settings."""
    own = type(spec.method).__dataclass_fields__["iterations"].default
    iterations = spec.method.iterations
    return Distilled(spec.images_per_class, spec.method.name, OWN if iterations == own else iterations)


def find_distillation(context: StudyContext, dataset: Dataset, spec: DistillationSpec) -> TrackedRun | None:
    """The finished run that made these images, or None."""
    return find_finished(context, "distillation", key_of_distillation(dataset, spec))


def ensure_distillation(
    context: StudyContext, dataset: Dataset, spec: DistillationSpec, parent_id: str | None = None
) -> tuple[Subset, str]:
    """Finds or makes the images; returns them as a subset, with the id of its run."""
    title = f"{strategy_of(spec).canonical} of {dataset.name}"

    def find() -> tuple[Subset, str] | None:
        found = find_distillation(context, dataset, spec)
        if found is None:
            return None
        context.say(f"{title}: found in run {found.id}")
        return load_subset(context, found.id), found.id

    def make() -> tuple[Subset, str]:
        context.say(f"{title}: not on the server; making them, {spec.method.total:,} iterations")
        return make_distillation(context, dataset, spec, parent_id, claim=True)

    return find_or_make(context, "distillation", key_of_distillation(dataset, spec), title, find, make)


def check_distillation(context: StudyContext, dataset: Dataset, spec: DistillationSpec) -> None:
    """Checks that these images can be made on this machine.

    Raises:
        UserError: there is not enough memory, or the method does not support this data set.
    """
    from proxyflow.distillation.memory_estimate import check_memory, estimate_memory  # imports torch
    from proxyflow.distillation.problem import Problem

    problem = Problem.of(dataset, spec, context.device)
    check_memory(estimate_memory(spec.method, problem).n_bytes, context.device)


def make_distillation(
    context: StudyContext,
    dataset: Dataset,
    spec: DistillationSpec,
    parent_id: str | None = None,
    main: bool = False,
    claim: bool = False,
) -> tuple[Subset, str]:
    """Makes synthetic images and logs them as a subset; resumes an interrupted run with the same key.

    Returns:
        The subset, and the run's id.

    Raises:
        Taken: with `claim`, if another process makes these images or has made them.
        UserError: the images cannot be made on this machine.
        OutOfMemory: memory did not suffice, despite the estimate.
    """
    from proxyflow.distillation.checkpoint import DistillationCheckpoint  # imports torch, as do the next ones
    from proxyflow.distillation.distill import distill
    from proxyflow.trainers.devices import device_name

    started = time.perf_counter()
    strategy, key = strategy_of(spec), key_of_distillation(dataset, spec)
    tags = _tags(dataset, strategy, spec.seed, key)
    if main:
        # A run whose process was killed is still marked as running, and could not be resumed.
        context.writer.recovery.fail_stale_runs()
    resumed = newest_checkpoint(context, "distillation", key, DistillationCheckpoint.load, before=spec.method.total + 1)
    if resumed is not None:
        tags[names.RESUMED_FROM] = resumed.run_id
        started -= resumed.checkpoint.wall_seconds
        context.say(f"resuming after iteration {resumed.checkpoint.done:,} of run {resumed.run_id}")
    title = f"{dataset.name} · {strategy.canonical}"
    with context.writer.open("distillation", title, _note(dataset, spec), tags, parent_id, main, claim) as run:
        run.log_params(_params(dataset, spec.method, spec))
        run.log_data(dataset.name, dataset.fingerprint, "source", len(dataset.train), len(dataset.class_names))
        with Progress(f"distilling {dataset.name}", spec.method.total, "iterations", work=1.0) as progress:
            callbacks = _Callbacks(run, progress, key, started, resumed)
            made = distill(
                dataset,
                spec,
                context.device,
                strategy.canonical,
                None if resumed is None else resumed.checkpoint.state,
                callbacks.on_loss,
                callbacks.on_step,
                callbacks.on_pictures,
            )
        _log_files(run, spec, made, device_name(context.device))
        run.log_params({"device": device_name(context.device), "n_train": len(made.subset.train)})
        # Searches find the run by this tag, so it is set only after the files are logged.
        fingerprint = {names.SUBSET_FINGERPRINT: made.subset.fingerprint}
        run.log_metrics(_metrics(context, dataset, made, wall_seconds=time.perf_counter() - started), tags=fingerprint)
    # Only once the run has ended, so that an interruption cannot lose both.
    forget_checkpoints(context, run.id, resumed)
    context.subsets[run.id] = made.subset
    context.say(
        f"{strategy.canonical} of {dataset.name}: {len(made.subset.train):,} images, made in run {run.id}, "
        f"{made.cost.train_seconds:.1f} s"
    )
    return made.subset, run.id


class _Callbacks:
    """Logs losses, images and checkpoints of a running distillation, and shows its progress."""

    def __init__(
        self, run: Run, progress: Progress, key: str, started: float, resumed: Resumed[DistillationCheckpoint] | None
    ) -> None:
        self.run, self.progress, self.key, self.started = run, progress, key, started
        self.number = 0 if resumed is None else resumed.checkpoint.number
        self.saved_at, self.last_loss = time.monotonic(), ""
        if resumed is not None:
            state = resumed.checkpoint.state
            progress.skip(state.iteration, state.share)
            for iteration, loss in state.losses:
                self.on_loss(iteration, loss)

    def on_loss(self, iteration: int, loss: float) -> None:
        self.run.log_metrics({"loss": loss}, step=iteration)
        self.last_loss = f"loss {loss:.4g}"

    def on_step(self, done: int, share: float, state: Callable[[], DistillationState]) -> None:
        from proxyflow.distillation.checkpoint import DistillationCheckpoint  # imports torch

        self.progress.advance(share - self.progress.done_work, self.last_loss)
        if time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            self.number += 1
            seconds = time.perf_counter() - self.started
            log_checkpoint(self.run, DistillationCheckpoint(state(), self.key, seconds, self.number))
            self.saved_at = time.monotonic()

    def on_pictures(self, iteration: int, pixels: Pixels, labels: NDArray[np.int64]) -> None:
        _log_pictures(self.run, iteration, pixels, labels)


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
        f"{spec.images_per_class} synthetic images per class that replace the {len(dataset.train):,} training "
        f"examples of {escape_markdown(dataset.name)}, made by {spec.method.canonical}: {spec.method.summary}."
    )


def _params(dataset: Dataset, method: Method, spec: DistillationSpec) -> dict[str, Any]:
    return {
        **dataset_params(dataset),
        "strategy": strategy_of(spec).canonical,
        "method": method.name,
        "images_per_class": spec.images_per_class,
        "image_size": spec.image_size or dataset.preprocessing.image_size,
        "seed": spec.seed,
        "n_valid": len(dataset.valid),
        "n_classes": len(dataset.class_names),
        **dataclasses.asdict(method),
    }


def _metrics(
    context: StudyContext, dataset: Dataset, made: Distillation, wall_seconds: float
) -> dict[str, float | None]:
    return {
        "train_seconds": made.cost.train_seconds,
        "wall_seconds": wall_seconds,
        "examples_seen": made.cost.examples_seen,
        "train_flops": made.cost.train_flops,
        "estimated_memory_mb": made.memory_bytes / 2**20,
        "n_train": float(len(made.subset.train)),
        "fraction": len(made.subset.train) / len(dataset.train),
        "cost_usd": context.cost_usd(wall_seconds),
    } | selection_metrics(made.subset.selection)


def _log_pictures(run: Run, iteration: int, pixels: Pixels, labels: NDArray[np.int64]) -> None:
    """Logs a contact sheet of the current images."""
    from proxyflow.distillation.pictures import draw_contact_sheet  # imports PIL

    with temporary_folder() as folder:
        draw_contact_sheet(pixels, labels, folder / f"iteration-{iteration:06d}.png")
        run.log_folder(folder, PICTURES)


def _log_files(run: Run, spec: DistillationSpec, made: Distillation, device: str) -> None:
    """Logs the subset (8-bit images), and the learned tensors in full precision."""
    from safetensors.torch import save_file  # imports safetensors

    with temporary_folder() as folder:
        write_subset(made.subset, folder / names.SUBSET)
        run.log_folder(folder / names.SUBSET, names.SUBSET)
    summary = {
        "spec": spec.to_dict(made.subset.preprocessing.image_size),
        "losses": made.losses,
        "cost": dataclasses.asdict(made.cost),
        "device": device,
        "images": "images in learned.safetensors are normalised: pixels in 0..1 less mean, divided by std",
        "mean": made.subset.preprocessing.mean,
        "std": made.subset.preprocessing.std,
        **made.summary,
    }
    with temporary_folder() as folder:
        save_file(made.learned, str(folder / "learned.safetensors"))
        write_json(folder / "summary.json", summary)
        run.log_folder(folder, names.DISTILLATION)
