"""Score runs: finds scores on the tracking server by key, by id or as the latest, or makes them."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Set
from typing import TYPE_CHECKING, Any

from proxyflow.core.errors import UserError
from proxyflow.core.progress import Progress
from proxyflow.data.catalog import Dataset
from proxyflow.proxies import Proxy
from proxyflow.scores.predictions import beyond_predictions
from proxyflow.scores.table import (
    CONFUSION_FILE,
    EMBEDDINGS,
    EMBEDDINGS_FILE,
    SUMMARY_FILE,
    TABLE_FILE,
    ExampleScores,
    checksums_of,
)
from proxyflow.scoring.spec import ScoringSpec, early_epochs
from proxyflow.strategies import Strategy
from proxyflow.studies.context import StudyContext, dataset_params, find_finished, find_or_make, temporary_folder
from proxyflow.studies.keys import key_of_scores
from proxyflow.studies.models import save_model
from proxyflow.studies.plan import AUTO, LATEST, check_epochs, epochs_for, folds_for
from proxyflow.tracking import names
from proxyflow.tracking.artifacts.transfer import fetch, list_names
from proxyflow.tracking.queries.reader import get_run, search
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.ui.links import escape_markdown, paragraphs, run_path
from proxyflow.trainers.job import TrainingSpec
from proxyflow.trainers.results import EpochRecord

if TYPE_CHECKING:
    from proxyflow.scoring.scorer import ScoringResult
    from proxyflow.tracking.runs.run import Run


class NoScores(UserError):
    """No score run of a data set has what strategies need, and no model can be trained to make one.

    Attributes:
        dataset: name of the data set.
        needs: what the strategies need of a score run.
    """

    def __init__(self, dataset: str, needs: Iterable[str], reason: str) -> None:
        self.dataset, self.needs = dataset, frozenset(needs)
        beyond = beyond_predictions(self.needs)
        remedy = (
            f"choose strategies without {', '.join(beyond)}, which predictions do not give either"
            if beyond
            else f"score predictions of a model of your own first: score with dataset={dataset} predictions=FILE"
        )
        super().__init__(f"no score run of {dataset} has {', '.join(sorted(self.needs))}, and {reason}; {remedy}")


def spec_for(training: TrainingSpec, *strategies: Strategy) -> ScoringSpec:
    """A scoring by one model that computes all scores that these strategies need, with folds only if needed.

    Raises:
        InvalidValue: a strategy names an epoch after the last one of the scoring model.
    """
    check_epochs(map(Proxy, strategies), training.epochs)
    early = early_epochs(training.epochs, epochs_for(*strategies))
    return ScoringSpec(training, holdout_folds=folds_for(*strategies), early=early)


def ensure_scores(
    context: StudyContext,
    dataset: Dataset,
    spec: ScoringSpec,
    needs: Set[str] = frozenset(),
    parent_id: str | None = None,
) -> ExampleScores:
    """Returns the scores of `spec`: from a finished run with the same key, or computed now.

    Args:
        needs: names of the scores that strategies will use, see `Strategy.needs`.
    """

    def find() -> ExampleScores | None:
        found = find_scores(context, dataset, spec)
        if found is None:
            return None
        context.say(f"scores of {dataset.name}: found in run {found.id}")
        return load_scores(context, found, needs)

    def make() -> ExampleScores:
        context.say(
            f"scores of {dataset.name}: not on the server; training {spec.trainings} scoring model(s) "
            f"({spec.training.configuration.name}, {spec.training.epochs} epochs) on the full training set"
        )
        return make_scores(context, dataset, spec, parent_id, claim=True)

    return find_or_make(
        context, "score", key_of_scores(context, dataset, spec), f"scores of {dataset.name}", find, make
    )


def find_scores(context: StudyContext, dataset: Dataset, spec: ScoringSpec) -> TrackedRun | None:
    """The finished score run with the key of `spec`, or None."""
    return find_finished(context, "score", key_of_scores(context, dataset, spec))


def named_scores(context: StudyContext, dataset: Dataset, scores: str, needs: Set[str]) -> TrackedRun | None:
    """The score run that a user named: by its id, or `latest` for the newest of this data set that has `needs`.

    Returns:
        The run; None if `latest` finds none.

    Raises:
        NotFound, UserError: there is no such score run, it is not finished, or it scored another data set.
    """
    if scores != LATEST:
        found = get_run(context.client, scores, "score", "scores")
        if found.tags.get(names.DATASET_FINGERPRINT) != dataset.fingerprint:
            raise UserError(
                f"scores={scores} are of {found.tags.get(names.DATASET)}, whose content differs from {dataset.name} "
                "here: give a score run of this data set, or latest"
            )
        return found
    candidates = search(context.client, KIND="score", DATASET_FINGERPRINT=dataset.fingerprint)
    newest = next((run for run in candidates if run.finished and needs <= scores_in(run)), None)
    if newest is not None:
        epochs = newest.tags.get(names.EPOCHS)
        trained = f", {epochs} epochs" if epochs else ""
        context.say(f"scores of {dataset.name}: the latest are in run {newest.id} ({newest.name}{trained})")
    return newest


def scores_for(
    context: StudyContext,
    dataset: Dataset,
    scores: str,
    spec: ScoringSpec,
    needs: Set[str],
    parent_id: str | None = None,
) -> ExampleScores:
    """The scores that a user named, see `named_scores`; computed by `spec` if `latest` finds none."""
    found = named_scores(context, dataset, scores, needs)
    if found is not None:
        return load_scores(context, found, needs)
    return ensure_scores(context, dataset, spec, needs, parent_id)


def scores_in(run: TrackedRun) -> set[str]:
    """Names of what a score run holds for strategies."""
    return set(run.tags.get(names.SCORE_NAMES, "").split(","))


def check_scores(context: StudyContext, scores: str, *strategies: Strategy) -> None:
    """Checks that a named score run exists, before any data is read."""
    if scores not in (AUTO, LATEST) and any(strategy.needs_scores for strategy in strategies):
        get_run(context.client, scores, "score", "scores")


def load_scores(context: StudyContext, run: TrackedRun, needs: Set[str]) -> ExampleScores:
    """Downloads a score run's table, and embeddings if needed; cached per process."""
    cached = context.scores.get(run.id)
    wants_embeddings = EMBEDDINGS in needs and EMBEDDINGS in scores_in(run)
    if cached is None or (wants_embeddings and cached.embeddings is None):
        with temporary_folder() as folder:
            # Embeddings may be hundreds of megabytes, and few strategies need them.
            wanted = (TABLE_FILE, CONFUSION_FILE, *([EMBEDDINGS_FILE] if wants_embeddings else []))
            uploaded = list_names(context.client, run.id, names.SCORES)
            if SUMMARY_FILE in uploaded:
                fetch(context.client, run.id, f"{names.SCORES}/{SUMMARY_FILE}", folder / SUMMARY_FILE)
            checksums = checksums_of(folder)
            for name in wanted:
                if name in uploaded or name in checksums or name == TABLE_FILE:
                    context.fetch(run.id, f"{names.SCORES}/{name}", folder / name, checksums.get(name, ""))
            context.scores[run.id] = ExampleScores.load(folder, run.id)
    return context.scores[run.id]


def make_scores(
    context: StudyContext,
    dataset: Dataset,
    spec: ScoringSpec,
    parent_id: str | None = None,
    main: bool = False,
    claim: bool = False,
    weights: bool = False,
    model: bool = False,
) -> ExampleScores:
    """Trains the scoring models and logs a score run.

    Args:
        weights, model: save the first scoring model as of its last epoch, see `save_model`.

    Raises:
        Taken: with `claim`, if another process computes these scores or has computed them.
    """
    from proxyflow.scoring.scorer import score_examples  # imports torch

    training = spec.training
    tags = _tags(context, dataset, spec)
    note = (
        f"Difficulty scores of the {len(dataset.train):,} training examples of {escape_markdown(dataset.name)}, by "
        f"{spec.trainings} model(s) {escape_markdown(training.configuration.name)}, {training.epochs} epochs."
    )
    started = time.perf_counter()
    title = f"{dataset.name} · scores · {training.configuration.name}"
    with context.writer.open("score", title, note, tags, parent_id, main, claim) as run:
        run.log_params(_params(dataset, spec))
        run.log_data(dataset.name, dataset.fingerprint, "training", len(dataset.train), len(dataset.class_names))
        with Progress(f"scoring {dataset.name}", spec.trainings * training.epochs, "epochs") as progress:

            def on_epoch(number: int, record: EpochRecord) -> None:
                value = record.values.get(training.trainer.metric.name, math.nan)
                progress.advance(note=f"model {number + 1}, {training.trainer.metric.label} {value:.3f}")
                if number == 0:
                    run.log_metrics(record.values, step=record.epoch)

            scoring = score_examples(dataset, spec, context.device, on_epoch)
        log_scores(run, dataset, scoring.scores, scoring.summary() | _about(dataset, spec, scoring))
        run.log_params(scoring.results[0].params)
        metrics = _metrics(context, scoring, wall_seconds=time.perf_counter() - started)
        # Searches find the run by this tag, so it is set only after the files are logged.
        run.log_metrics(metrics, tags={names.SCORE_NAMES: ",".join(scoring.scores.holds)})
        if weights or model:
            _save_model(context, run, spec, scoring, note, weights, model)
        scores = dataclasses.replace(scoring.scores, run_id=run.id)
    context.scores[run.id] = scores
    context.say(f"scores of {dataset.name}: made in run {run.id}, {scoring.train_seconds:.1f} s of training")
    for name, value in scoring.agreement.items():
        text = "undefined, all scores of a repeat are equal" if value is None else f"{value:.3f}"
        context.say(f"  rank agreement of {name} between {spec.repeats} repeats: {text}")
    return scores


def log_scores(run: Run, dataset: Dataset, scores: ExampleScores, summary: dict[str, Any]) -> None:
    """Logs a table of scores with its summary, then its figures."""
    from proxyflow.scoring.pictures import draw_scores  # imports matplotlib

    with temporary_folder() as folder:
        scores.save(folder, summary)
        run.log_folder(folder, names.SCORES)
    # After the scores, so that they are logged even if drawing fails.
    with temporary_folder() as folder:
        draw_scores(dataset, scores, folder)
        run.log_folder(folder, names.SCORES)


def _save_model(
    context: StudyContext, run: Run, spec: ScoringSpec, scoring: ScoringResult, note: str, weights: bool, model: bool
) -> None:
    """Logs the first scoring model, and adds links to the run's description."""
    training = spec.training
    about = {"epoch": training.epochs, training.trainer.metric.name: scoring.results[0].final}
    save_model(run, scoring.model, training, scoring.subset, about, weights, model)
    link = f"[its weights]({run_path(context.writer.experiment_id, run.id, names.WEIGHTS)})"
    saved = " and ".join((link,) * weights + ("an MLflow model",) * model)
    run.set_tags({names.DESCRIPTION: paragraphs(note, f"The first scoring model is saved: {saved}.")})


def _tags(context: StudyContext, dataset: Dataset, spec: ScoringSpec) -> dict[str, object]:
    training = spec.training
    return {
        names.DATASET: dataset.name,
        names.DATASET_FINGERPRINT: dataset.fingerprint,
        names.TRAINER: training.trainer.name,
        names.CONFIG: training.configuration.name,
        names.CONFIG_JSON: training.configuration.to_json(),
        names.SEED: training.seed,
        names.EPOCHS: training.epochs,
        names.RUN_KEY: key_of_scores(context, dataset, spec),
    }


def _params(dataset: Dataset, spec: ScoringSpec) -> dict[str, object]:
    training = spec.training
    return {
        **dataset_params(dataset),
        **training.configuration,
        **training.trainer.settings,
        "trainer": training.trainer.name,
        "epochs": training.epochs,
        "config": training.configuration.name,
        "seed": training.seed,
        "repeats": spec.repeats,
        "holdout_folds": spec.holdout_folds,
        "early_epochs": ",".join(map(str, spec.early)),
    }


def _about(dataset: Dataset, spec: ScoringSpec, scoring: ScoringResult) -> dict[str, object]:
    """How the scores were computed, for their summary."""
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "training": spec.training.to_dict(),
        "repeats": spec.repeats,
        "holdout_folds": spec.holdout_folds,
        "train_seconds": scoring.train_seconds,
        "scoring_seconds": scoring.scoring_seconds,
        **scoring.results[0].params,
    }


def _metrics(context: StudyContext, scoring: ScoringResult, wall_seconds: float) -> dict[str, float | None]:
    """Total cost of all scoring models, agreement between repeats, and the metric of the first model."""
    first, name = scoring.results[0], scoring.results[0].metric.name
    return {
        "objective": first.objective,
        f"best_{name}": first.best,
        f"final_{name}": first.final,
        "train_seconds": scoring.train_seconds,
        "valid_seconds": sum(result.valid_seconds for result in scoring.results),
        "scoring_seconds": scoring.scoring_seconds,
        "wall_seconds": wall_seconds,
        "steps": float(sum(result.steps or 0 for result in scoring.results)),
        "examples_seen": float(sum(result.examples_seen or 0 for result in scoring.results)),
        "train_flops": sum(result.train_flops or 0.0 for result in scoring.results),
        "cost_usd": context.cost_usd(wall_seconds),
        **{f"agreement_{score}": value for score, value in scoring.agreement.items()},
    }
