"""Training runs: one model on one subset, trained and logged."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from proxyflow.studies.keys import key_of_training_on
from proxyflow.studies.lab import Lab
from proxyflow.studies.models import Model, keep_model
from proxyflow.studies.plan import PlannedTraining
from proxyflow.studies.resuming import forget_checkpoints, log_checkpoint, newest_checkpoint
from proxyflow.studies.subsets import selection_metrics
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.links import paragraphs, plain
from proxyflow.training.checkpoints import Checkpoint
from proxyflow.training.engine import EpochRecord, Trained, TrainingResult, TrainingSpec, TrainingState, get_engine
from proxyflow.training.hyperparameters import TrainingSettings
from proxyflow.training.memory import explained


@dataclasses.dataclass(frozen=True)
class Keep:
    """What a training leaves besides its metrics; nothing, unless asked for.

    Attributes:
        weights: those of the best epoch, as safetensors with a JSON description.
        model: that of the best epoch, as an MLflow model.
        checkpoints: the state after each epoch, from which the same training goes on after an interruption.
    """

    weights: bool = False
    model: bool = False
    checkpoints: bool = False


NOTHING = Keep()


def train(
    lab: Lab,
    planned: PlannedTraining,
    subset: Subset,
    subset_run: str,
    parent_id: str | None = None,
    main: bool = False,
    on_share: Callable[[float, str], None] | None = None,
    keep: Keep = NOTHING,
    claim: bool = False,
) -> tuple[TrainingResult, str]:
    """Trains one model and logs the run.

    Args:
        subset_run: the run that the subset came from.
        on_share: called after each epoch with the share of the training that it was, and a note.
        keep: what is logged besides metrics; with checkpoints the training goes on where an earlier run of it ended.
        claim: leave it to another process that is at it, or has done it.

    Returns:
        The result and the run's id.

    Raises:
        Taken: with `claim`, where another process has or had the training.
        OutOfMemory: it does not fit on the device.
    """
    begun = time.perf_counter()
    shown, settings, passes = as_shown(planned, subset)
    note = _note(lab, planned, subset, subset_run)
    tags = _tags(lab, planned, subset, subset_run)
    run_key = tags[names.RUN_KEY]
    if main:
        # A run whose process was killed is still marked as running, and would be left alone.
        lab.writer.reap()
    resumed = None
    if keep.checkpoints:
        resumed = newest_checkpoint(lab, "training", run_key, Checkpoint.load, before=settings.epochs)
    if resumed is not None:
        tags[names.RESUMED_FROM] = resumed.run_id
        begun -= resumed.checkpoint.wall_seconds
        lab.say(f"going on after epoch {resumed.checkpoint.epoch} of run {resumed.run_id}")
    with lab.writer.open("training", planned.title, note, tags, parent_id, main, claim) as run:
        run.log_params(_params(lab, planned, subset))
        if planned.strategy.synthetic:
            run.log_params({"passes": passes})
        run.log_data(
            f"{subset.dataset} {subset.strategy}",
            subset.fingerprint,
            "training",
            len(subset.train),
            len(subset.classes),
            artifact=(subset_run, names.SUBSET),
        )

        def on_epoch(record: EpochRecord) -> None:
            run.log_metrics({name: getattr(record, name) for name in names.EPOCH_METRICS}, step=record.epoch)
            if on_share is not None:
                on_share(1 / settings.epochs, f"epoch {record.epoch}, accuracy {record.valid_accuracy:.3f}")

        def on_state(state: TrainingState) -> None:
            if len(state.records) < settings.epochs:
                log_checkpoint(run, Checkpoint(state, run_key, time.perf_counter() - begun))

        start = None
        if resumed is not None:
            start = resumed.checkpoint.state
            for record in start.records:
                on_epoch(record)
        spec = TrainingSpec(planned.hyperparameters, settings, planned.seed, planned.engine)
        with explained(lab.device, settings.batch_size, settings.image_size or subset.image_size):
            trained = get_engine(planned.engine).train(
                shown,
                spec,
                lab.device,
                on_epoch,
                keep_best=keep != NOTHING,  # who resumes may ask for weights that the first command did not
                start=start,
                on_state=on_state if keep.checkpoints else None,
            )
        result = trained.result
        run.log_params({name: getattr(result, field) for name, field in WHAT_RAN.items()})
        run.log_metrics(
            _metrics(lab, result, wall_seconds=time.perf_counter() - begun) | selection_metrics(subset.selection),
            tags={names.DIVERGED: str(result.diverged).lower()},
        )
        # Whatever becomes of the model, the result is there.
        if (keep.weights or keep.model) and trained.best_weights is not None:
            trained.model.load_state_dict(trained.best_weights)
            keep_model(run, _model_of(trained, planned, subset), keep.weights, keep.model)
    # Only now that nothing can be lost any more.
    if keep.checkpoints:
        forget_checkpoints(lab, run.id, resumed)
    return result, run.id


def _model_of(trained: Trained, planned: PlannedTraining, subset: Subset) -> Model:
    return Model(
        trained.model,
        planned.hyperparameters,
        epoch=trained.result.best_epoch,
        valid_accuracy=trained.result.best_valid_accuracy,
        class_names=tuple(subset.class_names[label] for label in subset.classes),
        image_size=planned.settings.image_size or subset.image_size,
        mean=subset.mean,
        std=subset.std,
    )


# Params that say what really ran, where the requested ones may have left it open.
WHAT_RAN = {
    "precision_used": "precision",
    "execution": "execution",
    "device": "device",
    "device_shared": "device_shared",
    "threads": "threads",
}


def as_shown(planned: PlannedTraining, subset: Subset) -> tuple[Subset, TrainingSettings, int]:
    """What an epoch shows of a subset: synthetic images several times, in batches that all of them fill.

    Returns:
        The subset with examples repeated, the settings with the batch size, and how often each example is shown.
    """
    settings, n = planned.settings, len(subset.train)
    if not planned.strategy.synthetic:
        return subset, settings, 1
    showing = planned.strategy.showing(n, subset.n_source or n, settings.batch_size)
    return subset.repeated(showing.passes), settings.replace(batch_size=showing.batch_size), showing.passes


def _note(lab: Lab, planned: PlannedTraining, subset: Subset, subset_run: str) -> str:
    """What a training is, with the way back to the scores that chose its examples."""
    what = (
        f"{planned.hyperparameters.arch} trained for {planned.settings.epochs} epochs on {len(subset.train):,} "
        f"examples of {plain(subset.dataset)} ({plain(planned.strategy.canonical)}) with configuration "
        f"{plain(planned.hyperparameters.name)}."
    )
    chosen = f", chosen by {lab.links.run('these scores', subset.score_run)}" if subset.score_run else ""
    return paragraphs(what, f"Trained on {lab.links.run('this subset', subset_run)}{chosen}.")


def _tags(lab: Lab, planned: PlannedTraining, subset: Subset, subset_run: str) -> dict[str, Any]:
    return {
        names.DATASET: subset.dataset,
        names.DATASET_FINGERPRINT: subset.dataset_fingerprint,
        names.STRATEGY: planned.strategy.canonical,
        names.CONFIG: planned.hyperparameters.name,
        names.CONFIG_GROUP: planned.hyperparameters.group,
        names.SEED: planned.seed,
        names.EPOCHS: planned.settings.epochs,
        names.SUBSET_FINGERPRINT: subset.fingerprint,
        names.SUBSET_RUN: subset_run,
        names.SCORE_RUN: subset.score_run or None,
        names.RUN_KEY: key_of_training_on(lab, planned, subset),
    }


def _params(lab: Lab, planned: PlannedTraining, subset: Subset) -> dict[str, Any]:
    image_size = planned.settings.image_size or subset.image_size
    return {
        **dataclasses.asdict(planned.hyperparameters),
        **dataclasses.asdict(as_shown(planned, subset)[1]),
        "image_size": image_size,
        "crop": subset.crop,
        "precision": lab.precision(planned.settings.precision, image_size),
        "dataset": subset.dataset,
        "strategy": planned.strategy.canonical,
        "config": planned.hyperparameters.name,
        "seed": planned.seed,
        "engine": planned.engine,
        "n_train": len(subset.train),
        "n_valid": len(subset.valid),
        "n_classes": len(subset.classes),
    }


def _metrics(lab: Lab, result: TrainingResult, wall_seconds: float) -> dict[str, float | None]:
    measured = {"wall_seconds": wall_seconds, "cost_usd": lab.cost_usd(wall_seconds)}
    return {name: measured[name] if name in measured else getattr(result, name) for name in names.RUN_METRICS}
