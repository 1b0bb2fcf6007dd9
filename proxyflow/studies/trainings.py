"""Training runs: one configuration on one subset, trained and logged."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyflow.core.errors import InvalidValue, TrainingFailed
from proxyflow.spaces.metric import Metric
from proxyflow.studies.checkpoints import Resumed, forget_checkpoints, log_checkpoint, newest_checkpoint
from proxyflow.studies.context import StudyContext
from proxyflow.studies.keys import key_of_training_on
from proxyflow.studies.models import save_model
from proxyflow.studies.plan import PlannedTraining
from proxyflow.studies.subsets import selection_metrics, size_params
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.queries.curve_tag import tag_of
from proxyflow.tracking.runs.owner import initial_tags
from proxyflow.tracking.runs.user_code import UserCodeRun
from proxyflow.tracking.ui.links import escape_markdown, paragraphs
from proxyflow.trainers.job import Checkpoint, Job, TrainingSpec
from proxyflow.trainers.model_access import model_access
from proxyflow.trainers.protocol import Resumable, Trainer
from proxyflow.trainers.results import EpochRecord, Trained, TrainingResult

if TYPE_CHECKING:
    from proxyflow.tracking.runs.run import Run


@dataclasses.dataclass(frozen=True)
class SaveOptions:
    """What a training saves besides its metrics; nothing by default.

    Attributes:
        weights: weights of the best epoch, as safetensors with a JSON description.
        model: model of the best epoch, as an MLflow model.
        checkpoints: the state after each epoch, so that an interrupted training can resume.
    """

    weights: bool = False
    model: bool = False
    checkpoints: bool = False

    def check(self, trainer: Trainer) -> None:
        """Checks that the trainer supports these options.

        Raises:
            NoModelAccess: the trainer gives no access to its models.
            InvalidValue: the trainer has no checkpoints.
        """
        if self.weights or self.model:
            model_access(trainer, "saving it")
        if self.checkpoints and not resumes(trainer):
            with_settings = "".join(f", {name}={value}" for name, value in trainer.settings.items())
            rule = f"trainer={trainer.name}{with_settings} has no checkpoints, so it cannot resume"
            raise InvalidValue("resume_training", "true", rule)


SAVE_NOTHING = SaveOptions()


def resumes(trainer: Trainer) -> bool:
    """Whether the trainer can resume from a checkpoint."""
    return isinstance(trainer, Resumable) and trainer.resumes


def train(
    context: StudyContext,
    planned: PlannedTraining,
    subset: Subset,
    subset_run: str,
    parent_id: str | None = None,
    main: bool = False,
    on_progress: Callable[[float, str], None] | None = None,
    save: SaveOptions = SAVE_NOTHING,
    claim: bool = False,
    output: Path | None = None,
) -> tuple[TrainingResult, str]:
    """Trains one configuration and logs the run.

    Args:
        subset_run: id of the subset's run.
        on_progress: called after each epoch with the epoch's share of the training, and a note.
        save: what to log besides metrics. With checkpoints, the training resumes from the last checkpoint of an
            unfinished run with the same key.
        claim: skip the training if another process runs it or has finished it.
        output: a folder that keeps what a program of the user writes to its output folder; None keeps nothing.

    Returns:
        The result, and the run's id.

    Raises:
        Taken: with `claim`, if another process runs the training or has finished it.
        OutOfMemory: the training does not fit on the device.
    """
    from proxyflow.trainers.devices import device_name  # imports torch

    started = time.perf_counter()
    trainer = planned.spec.trainer
    save.check(trainer)
    tags = _tags(context, planned, subset, subset_run)
    if main:
        # A run whose process was killed is still marked as running, and could not be resumed.
        context.writer.recovery.fail_stale_runs()
    resumed = _find_checkpoint(context, planned.spec, tags[names.RUN_KEY]) if save.checkpoints else None
    if resumed is not None:
        tags[names.RESUMED_FROM] = resumed.run_id
        started -= resumed.checkpoint.wall_seconds
        context.say(f"resuming after epoch {resumed.checkpoint.done} of run {resumed.run_id}")
    note = _note(context, planned, subset, subset_run)
    with context.writer.open("training", planned.title, note, tags, parent_id, main, claim) as run:
        train_subset, spec, passes = apply_budget(planned, subset)
        _log_data(run, subset, subset_run)
        shown = {"passes": passes} if planned.strategy.data.synthetic else {}
        params = _params(context, planned, spec, subset) | shown
        user_run = UserCodeRun(run, context.writer.experiment_id) if trainer.logs_itself else None
        if user_run is None:
            run.log_params(params)
        on_epoch, on_checkpoint = _callbacks(run, spec, on_progress)
        for record in resumed.checkpoint.records if resumed is not None else ():
            on_epoch(record)
        trained = trainer.train(
            Job(
                spec,
                train_subset,
                context.device,
                on_epoch,
                # A resumed run may ask for weights that the first command did not.
                keep_best_weights=save != SAVE_NOTHING,
                start=resumed.checkpoint if resumed is not None else None,
                on_checkpoint=on_checkpoint if save.checkpoints else None,
                run_key=tags[names.RUN_KEY],
                started=started,
                run=user_run,
                workspace=context.data.folder,
                output=output,
                on_wait=(lambda: on_progress(0.0, "running")) if on_progress is not None else lambda: None,
            )
        )
        result = trained.result
        _check_reported(result, trainer)
        params |= {"device": device_name(context.device), **result.params}
        _log_result(context, run, user_run, result, params, tags, subset, started)
        # Last, so that the result is logged even if saving the model fails.
        _save_best(run, trained, spec, subset, save)
    # Only once the run has ended, so that an interruption cannot lose both.
    if save.checkpoints:
        forget_checkpoints(context, run.id, resumed)
    return result, run.id


def _find_checkpoint(context: StudyContext, spec: TrainingSpec, run_key: str) -> Resumed[Checkpoint] | None:
    assert isinstance(spec.trainer, Resumable)
    return newest_checkpoint(context, "training", run_key, spec.trainer.load_checkpoint, before=spec.epochs)


def _log_data(run: Run, subset: Subset, subset_run: str) -> None:
    """Logs the subset as the data set input of a training."""
    run.log_data(
        f"{subset.dataset} {subset.strategy}",
        subset.fingerprint,
        "training",
        len(subset.train),
        len(subset.classes),
        artifact=(subset_run, names.SUBSET),
    )


def _callbacks(
    run: Run, spec: TrainingSpec, on_progress: Callable[[float, str], None] | None
) -> tuple[Callable[[EpochRecord], None], Callable[[Checkpoint], None]]:
    """The callbacks of a job: log each epoch, upload each checkpoint."""
    metric = spec.trainer.metric
    best = (math.nan, 0)

    def on_epoch(record: EpochRecord) -> None:
        nonlocal best
        if not record.logged:
            run.log_metrics(record.values, step=record.epoch)
        value = record.values.get(metric.name, math.nan)
        if math.isfinite(value) and (not best[1] or metric.better(value, best[0])):
            best = value, record.epoch
        if on_progress is not None:
            shown, leading = f"{value:.3f}", f"{best[0]:.3f}"
            behind = f", best {leading} in epoch {best[1]}" if best[1] and leading != shown else ""
            on_progress(1 / spec.epochs, f"epoch {record.epoch}, {metric.label} {shown}{behind}")

    def on_checkpoint(checkpoint: Checkpoint) -> None:
        if checkpoint.done < spec.epochs:
            log_checkpoint(run, checkpoint)

    return on_epoch, on_checkpoint


def _check_reported(result: TrainingResult, trainer: Trainer) -> None:
    """Checks that the result has a value of the trainer's metric; a training that diverged need not.

    Raises:
        TrainingFailed: the message names the metric and what was reported.
    """
    if result.metric != trainer.metric:
        rule = f"its results must have its metric, {trainer.metric.to_json()}"
        raise TrainingFailed(f"trainer={trainer.name} returned a result with {result.metric.to_json()}; {rule}")
    if result.diverged or math.isfinite(result.objective):
        return
    found = sorted({name for record in result.records for name in record.values})
    last = f" after epoch {result.records[-1].epoch}" if trainer.metric.name in found else ""
    reported = f"it reported {', '.join(found)}" if found else "it reported no epoch"
    raise TrainingFailed(
        f"trainer={trainer.name} did not report {trainer.metric.name}{last}: {reported}; report it after each epoch"
    )


def _log_result(
    context: StudyContext,
    run: Run,
    user_run: UserCodeRun | None,
    result: TrainingResult,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    subset: Subset,
    started: float,
) -> None:
    """Logs the metrics of a whole training.

    Args:
        user_run: the run as the user's code has logged to it, which may have set any param, tag or metric.
        params, tags: all of the training; those that were logged before the training may be among them.
    """
    if user_run is None:
        run.log_params({name: params[name] for name in ("device", *result.params)})
    else:
        run.log_params(params, read_again=True)
        tags = {**initial_tags("training", context.writer.study), **tags}
    metrics = _metrics(context, result, time.perf_counter() - started) | selection_metrics(subset.selection)
    metrics[names.CHANCE] = chance_objective(result.metric, subset)
    again = {name: str(value) for name, value in tags.items() if value is not None} if user_run is not None else {}
    run.log_metrics(
        metrics,
        step=_last_step(metrics, result, user_run),
        tags={**again, names.DIVERGED: str(result.diverged).lower(), **_curve(result)},
    )


def chance_objective(metric: Metric, subset: Subset) -> float | None:
    """The objective of a prediction of the largest class for every validation example; None where there is none."""
    labels = subset.valid.labels
    largest = float(np.unique(labels, return_counts=True)[1].max() / len(labels)) if len(labels) else math.nan
    found = metric.of_constant_prediction(largest)
    return found if math.isfinite(found) else None


def _last_step(metrics: Mapping[str, float | None], result: TrainingResult, user_run: UserCodeRun | None) -> int:
    """The step at which the metrics of the whole training are the latest: a server shows those of the highest step.

    A user's metric may be called `objective`, and a program may log `train_seconds` after each epoch. Of two values of
    one step and one millisecond a server shows the larger, so ours come a step later.
    """
    epochs = [record.epoch for record in result.records if not metrics.keys().isdisjoint(record.values)]
    logged = user_run.last_step(metrics) if user_run is not None else -1
    return max(-1, logged, *epochs) + 1


def _save_best(run: Run, trained: Trained, spec: TrainingSpec, subset: Subset, save: SaveOptions) -> None:
    """Logs the model of the best epoch, if requested and available."""
    if not (save.weights or save.model) or trained.model is None or trained.best_weights is None:
        return
    trained.model.load_state_dict(trained.best_weights)
    result = trained.result
    about = {"epoch": result.best_epoch, result.metric.name: result.best}
    save_model(run, trained.model, spec, subset, about, save.weights, save.model)


def _curve(result: TrainingResult) -> dict[str, str]:
    """All epochs in one tag, if they fit: a search returns tags of many runs at once."""
    names_logged = result.records[0].values if result.records else ()
    curves = {name: [record.values.get(name, math.nan) for record in result.records] for name in names_logged}
    text = tag_of(curves, result.metric.name)
    return {} if text is None else {names.CURVES: text}


def apply_budget(planned: PlannedTraining, subset: Subset) -> tuple[Subset, TrainingSpec, int]:
    """Repeats synthetic examples within an epoch as the strategy's budget says; other subsets stay as they are.

    Returns:
        The subset with repeated examples, the spec with the hyperparameters of the proxy, and the passes per epoch.
    """
    spec, n, data = planned.spec, len(subset.train), planned.strategy.data
    configuration, passes = spec.trainer.reduced(spec.configuration, planned.strategy, data.presented(n)), 1
    if data.synthetic:
        plan = data.epoch_plan(n, subset.n_source or n, configuration["batch_size"])
        configuration, passes = configuration.replace(batch_size=plan.batch_size), plan.passes
    return subset.repeated(passes), dataclasses.replace(spec, configuration=configuration), passes


def _note(context: StudyContext, planned: PlannedTraining, subset: Subset, subset_run: str) -> str:
    """Description of a training, with links to its subset and scores."""
    what = (
        f"Configuration {escape_markdown(planned.spec.configuration.name)} trained for {planned.spec.epochs} epochs on "
        f"{planned.strategy.data.presented(len(subset.train)):,} examples of {escape_markdown(subset.dataset)} "
        f"({escape_markdown(planned.strategy.canonical)})."
    )
    chosen = f", chosen by {context.links.run('these scores', subset.score_run)}" if subset.score_run else ""
    return paragraphs(what, f"Trained on {context.links.run('this subset', subset_run)}{chosen}.")


def _tags(context: StudyContext, planned: PlannedTraining, subset: Subset, subset_run: str) -> dict[str, Any]:
    configuration, metric = planned.spec.configuration, planned.spec.trainer.metric
    return {
        names.DATASET: subset.dataset,
        names.DATASET_FINGERPRINT: subset.dataset_fingerprint,
        names.STRATEGY: planned.strategy.canonical,
        names.CONFIG: configuration.name,
        names.CONFIG_GROUP: configuration.group,
        names.CONFIG_JSON: configuration.to_json(),
        names.TRAINER: planned.spec.trainer.name,
        names.METRIC: metric.name,
        names.GOAL: metric.goal,
        names.METRIC_JSON: metric.to_json(),
        names.SEED: planned.spec.seed,
        names.EPOCHS: planned.spec.epochs,
        names.SUBSET_FINGERPRINT: subset.fingerprint,
        names.SUBSET_RUN: subset_run,
        names.SCORE_RUN: subset.score_run or None,
        names.RUN_KEY: key_of_training_on(context, planned, subset),
        names.REASON: planned.reason or None,
    }


def _params(context: StudyContext, planned: PlannedTraining, spec: TrainingSpec, subset: Subset) -> dict[str, Any]:
    trainer = spec.trainer
    return {
        **spec.configuration,
        **trainer.settings,
        **trainer.identity(subset, context.chosen_device),
        "trainer": trainer.name,
        "epochs": spec.epochs,
        "dataset": subset.dataset,
        "strategy": names.shorten(planned.strategy.canonical, names.PARAM_LENGTH),  # the tag has it in full
        "config": planned.spec.configuration.name,
        "seed": spec.seed,
        **size_params(subset),
    }


def _metrics(context: StudyContext, result: TrainingResult, wall_seconds: float) -> dict[str, float | None]:
    """Metrics of a whole training; None for unknown values."""
    name = result.metric.name
    found: dict[str, float | None] = {
        "objective": result.objective,
        f"best_{name}": result.best,
        f"final_{name}": result.final,
        "best_epoch": float(result.best_epoch),
        "wall_seconds": wall_seconds,
        "cost_usd": context.cost_usd(wall_seconds),
    }
    for key in ("train_seconds", "valid_seconds", "setup_seconds", "steps", "examples_seen", "train_flops"):
        found[key] = getattr(result, key)
    found["examples_per_second"] = result.examples_per_second
    # What a user's function returns beside the metric may have one of these names.
    found = {**result.metrics, **{key: value for key, value in found.items() if value is not None}}
    return {key: value if value is None or math.isfinite(value) else None for key, value in found.items()}
