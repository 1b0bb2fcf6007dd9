"""Score runs: found on the tracking server by key or as the latest that fits, or made."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Set
from typing import TYPE_CHECKING

from proxyflow.data.catalog import Dataset
from proxyflow.errors import UserError
from proxyflow.progress import Progress
from proxyflow.scoring.spec import ScoringSpec, early_epochs
from proxyflow.scoring.table import (
    CONFUSION_FILE,
    EMBEDDINGS,
    EMBEDDINGS_FILE,
    SUMMARY_FILE,
    TABLE_FILE,
    ExampleScores,
    checksums_of,
)
from proxyflow.strategies import Strategy
from proxyflow.studies.keys import key_of_scores
from proxyflow.studies.lab import Lab, dataset_params, once, scratch
from proxyflow.studies.models import Model, keep_model
from proxyflow.studies.plan import check_epochs, epochs_for, folds_for
from proxyflow.tracking import names
from proxyflow.tracking.found import FoundRun
from proxyflow.tracking.links import paragraphs, plain, run_path
from proxyflow.tracking.reader import get_run, search
from proxyflow.tracking.transfer import fetch, names_in
from proxyflow.training.engine import EpochRecord, TrainingSpec
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

if TYPE_CHECKING:
    from proxyflow.scoring.scorer import Scoring

LATEST = "latest"


def spec_for(training: TrainingSpec, *strategies: Strategy) -> ScoringSpec:
    """A scoring by one model that gives all that these strategies need, with folds where they need those.

    Raises:
        InvalidValue: a strategy names an epoch that the model is not trained for.
    """
    check_epochs(strategies, training.settings.epochs)
    early = early_epochs(training.settings.epochs, epochs_for(*strategies))
    return ScoringSpec(training, holdout_folds=folds_for(*strategies), early=early)


def default_scoring(strategy: Strategy) -> ScoringSpec:
    """The published way: a model with the default hyperparameters, trained on everything."""
    return spec_for(TrainingSpec(Hyperparameters(), TrainingSettings(), seed=0), strategy)


def ensure_scores(
    lab: Lab, dataset: Dataset, spec: ScoringSpec, needs: Set[str] = frozenset(), parent_id: str | None = None
) -> ExampleScores:
    """The scores that `spec` asks for: from a finished run with the same key, or made now.

    Args:
        needs: what strategies will choose by, see `Strategy.needs`.
    """

    def find() -> ExampleScores | None:
        found = find_scores(lab, dataset, spec)
        if found is None:
            return None
        lab.say(f"scores of {dataset.name}: found in run {found.id}")
        return load_scores(lab, found, needs)

    def make() -> ExampleScores:
        lab.say(
            f"scores of {dataset.name}: none on the server, so training {spec.trainings} scoring model(s) "
            f"({spec.training.hyperparameters.name}, {spec.training.settings.epochs} epochs) on the full training set"
        )
        return make_scores(lab, dataset, spec, parent_id, claim=True)

    return once(lab, "score", key_of_scores(lab, dataset, spec), f"scores of {dataset.name}", find, make)


def find_scores(lab: Lab, dataset: Dataset, spec: ScoringSpec) -> FoundRun | None:
    """The finished score run that `spec` would give again, if there is one."""
    runs = search(lab.client, KIND="score", RUN_KEY=key_of_scores(lab, dataset, spec))
    return next((run for run in runs if run.finished), None)


def chosen_scores(lab: Lab, dataset: Dataset, scores: str, strategy: Strategy) -> ExampleScores:
    """The scores that a user named: a score run's id, or `latest` for the newest of this data set.

    With `latest` and nothing on the server that the strategy can use they are made in the default way.

    Raises:
        NotFound, UserError: the named run is none, is not finished, or scored another data set.
    """
    if scores != LATEST:
        found = get_run(lab.client, scores, "score", "scores")
        if found.tags.get(names.DATASET_FINGERPRINT) != dataset.fingerprint:
            raise UserError(
                f"scores={scores} are of {found.tags.get(names.DATASET)} with another content than {dataset.name} "
                "here: name a score run of this data set, or latest"
            )
        return load_scores(lab, found, strategy.needs)
    candidates = search(lab.client, KIND="score", DATASET_FINGERPRINT=dataset.fingerprint)
    newest = next((run for run in candidates if run.finished and strategy.needs <= held_by(run)), None)
    if newest is None:
        return ensure_scores(lab, dataset, default_scoring(strategy), strategy.needs)
    epochs = newest.tags.get(names.EPOCHS)
    lab.say(f"scores of {dataset.name}: latest are of run {newest.id} ({newest.name}, {epochs} epochs)")
    return load_scores(lab, newest, strategy.needs)


def held_by(run: FoundRun) -> set[str]:
    """What strategies can find in a score run."""
    return set(run.tags.get(names.SCORES_HELD, "").split(","))


def check_scores(lab: Lab, scores: str, strategy: Strategy) -> None:
    """Refuses the name of a score run that does not exist, before any data is read."""
    if strategy.needs_scores and scores != LATEST:
        get_run(lab.client, scores, "score", "scores")


def load_scores(lab: Lab, run: FoundRun, needs: Set[str]) -> ExampleScores:
    """Downloads a score run's table, and its embeddings where they are needed, once per process."""
    kept = lab.scores.get(run.id)
    wants_embeddings = EMBEDDINGS in needs and EMBEDDINGS in held_by(run)
    if kept is None or (wants_embeddings and kept.embeddings is None):
        with scratch() as folder:
            # Embeddings may be hundreds of megabytes, and most strategies do without.
            wanted = (TABLE_FILE, CONFUSION_FILE, *([EMBEDDINGS_FILE] if wants_embeddings else []))
            there = names_in(lab.client, run.id, names.SCORES)
            if SUMMARY_FILE in there:
                fetch(lab.client, run.id, f"{names.SCORES}/{SUMMARY_FILE}", folder / SUMMARY_FILE)
            checksums = checksums_of(folder)
            for name in wanted:
                if name in there or name in checksums or name == TABLE_FILE:
                    lab.fetch(run.id, f"{names.SCORES}/{name}", folder / name, checksums.get(name, ""))
            lab.scores[run.id] = ExampleScores.load(folder, run.id)
    return lab.scores[run.id]


def make_scores(
    lab: Lab,
    dataset: Dataset,
    spec: ScoringSpec,
    parent_id: str | None = None,
    main: bool = False,
    claim: bool = False,
    save_model: bool = False,
    log_model: bool = False,
) -> ExampleScores:
    """Trains the scoring models and logs a score run.

    Args:
        save_model, log_model: keep the first scoring model, see `keep_model`; it is the one after the last epoch.

    Raises:
        Taken: with `claim`, where another process has or had these scores.
    """
    from proxyflow.scoring.pictures import draw_scores
    from proxyflow.scoring.scorer import score_examples
    from proxyflow.training.memory import explained

    training = spec.training
    tags = {
        names.DATASET: dataset.name,
        names.DATASET_FINGERPRINT: dataset.fingerprint,
        names.CONFIG: training.hyperparameters.name,
        names.SEED: training.seed,
        names.EPOCHS: training.settings.epochs,
        names.RUN_KEY: key_of_scores(lab, dataset, spec),
    }
    note = (
        f"Difficulty scores of the {len(dataset.train):,} training examples of {plain(dataset.name)}, by "
        f"{spec.trainings} model(s) {plain(training.hyperparameters.name)} trained for {training.settings.epochs} "
        "epochs."
    )
    begun = time.perf_counter()
    title = f"{dataset.name} · scores · {training.hyperparameters.name}"
    with lab.writer.open("score", title, note, tags, parent_id, main, claim) as run:
        run.log_params(_params(dataset, spec))
        run.log_data(dataset.name, dataset.fingerprint, "training", len(dataset.train), len(dataset.class_names))
        epochs = spec.trainings * training.settings.epochs
        with Progress(f"scoring {dataset.name}", epochs, "epochs") as progress:

            def on_epoch(model: int, record: EpochRecord) -> None:
                progress.advance(note=f"model {model + 1}, accuracy {record.valid_accuracy:.3f}")
                if model == 0:
                    run.log_metrics({name: getattr(record, name) for name in names.EPOCH_METRICS}, step=record.epoch)

            settings = training.settings
            with explained(lab.device, settings.batch_size, settings.image_size or dataset.image_size):
                scoring = score_examples(dataset, spec, lab.device, on_epoch)
        with scratch() as folder:
            scoring.scores.save(folder, scoring.summary() | _about(dataset, spec, scoring))
            run.log_folder(folder, names.SCORES)
        # Only now that nothing can be lost any more.
        with scratch() as folder:
            draw_scores(dataset, scoring.scores, folder)
            run.log_folder(folder, names.SCORES)
        first = scoring.results[0]
        run.log_params({"precision_used": first.precision, "device": first.device})
        metrics = _metrics(lab, scoring, wall_seconds=time.perf_counter() - begun)
        # With these the run can be found for what it holds; only now is that there.
        run.log_metrics(metrics, tags={names.SCORES_HELD: ",".join(scoring.scores.holds)})
        # Whatever becomes of the model, the scores are there.
        if save_model or log_model:
            keep_model(run, _scoring_model(dataset, spec, scoring), save_model, log_model)
            weights = f"[its weights]({run_path(lab.writer.experiment_id, run.id, names.WEIGHTS)})"
            kept = " and ".join((weights,) * save_model + ("an MLflow model",) * log_model)
            run.set_tags({names.NOTE: paragraphs(note, f"The first scoring model is kept: {kept}.")})
        scores = dataclasses.replace(scoring.scores, run_id=run.id)
    lab.scores[run.id] = scores
    lab.say(f"scores of {dataset.name}: made in run {run.id}, {scoring.train_seconds:.1f} s of training")
    for name, value in scoring.agreement.items():
        told = "undefined, as a repeat has all scores equal" if value is None else f"{value:.3f}"
        lab.say(f"  rank agreement of {name} between {spec.repeats} repeats: {told}")
    return scores


def _scoring_model(dataset: Dataset, spec: ScoringSpec, scoring: Scoring) -> Model:
    """The first scoring model, as it was when it gave the scores."""
    training, result = spec.training, scoring.results[0]
    return Model(
        scoring.model,
        training.hyperparameters,
        epoch=training.settings.epochs,
        valid_accuracy=result.final_valid_accuracy,
        class_names=dataset.class_names,
        image_size=training.settings.image_size or dataset.image_size,
        mean=dataset.mean,
        std=dataset.std,
    )


def _params(dataset: Dataset, spec: ScoringSpec) -> dict[str, object]:
    training = spec.training
    return {
        **dataset_params(dataset),
        **dataclasses.asdict(training.hyperparameters),
        **dataclasses.asdict(training.settings),
        "config": training.hyperparameters.name,
        "seed": training.seed,
        "engine": training.engine,
        "repeats": spec.repeats,
        "holdout_folds": spec.holdout_folds,
        "early_epochs": ",".join(map(str, spec.early)),
    }


def _about(dataset: Dataset, spec: ScoringSpec, scoring: Scoring) -> dict[str, object]:
    """How the scores were made, for their summary."""
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "training": dataclasses.asdict(spec.training),
        "repeats": spec.repeats,
        "holdout_folds": spec.holdout_folds,
        "train_seconds": scoring.train_seconds,
        "scoring_seconds": scoring.scoring_seconds,
        "precision": scoring.results[0].precision,
        "device": scoring.results[0].device,
    }


def _metrics(lab: Lab, scoring: Scoring, wall_seconds: float) -> dict[str, float | None]:
    """What all scoring models cost together, and how well repeats agree; accuracies are the first model's."""
    return {
        "best_valid_accuracy": scoring.results[0].best_valid_accuracy,
        "final_valid_accuracy": scoring.results[0].final_valid_accuracy,
        "train_seconds": scoring.train_seconds,
        "scoring_seconds": scoring.scoring_seconds,
        "wall_seconds": wall_seconds,
        "examples_seen": float(sum(result.examples_seen for result in scoring.results)),
        "train_flops": sum(result.train_flops for result in scoring.results),
        "cost_usd": lab.cost_usd(wall_seconds),
        **{f"agreement_{name}": value for name, value in scoring.agreement.items()},
    }
