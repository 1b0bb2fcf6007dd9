"""`score`: difficulty scores of every training example, by a model that it trains or by anybody's predictions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyflow.cli.command import command
from proxyflow.cli.listings import DATA_SETS, SCORES, TRAINERS
from proxyflow.cli.opening import open_context
from proxyflow.cli.options import AUTO, NONE, Topic, parse_numbers, ruled_option, switch, word_option
from proxyflow.cli.program import next_command
from proxyflow.cli.shared import (
    DATA_OPTIONS,
    DATASET,
    LOG_MODEL_AS,
    PRICE,
    SAVE_MODEL_AS,
    SEED,
    STUDY,
    SYSTEM_METRICS,
    data_options,
    take_data_options,
)
from proxyflow.cli.training import (
    COMMON,
    CONFIG,
    EPOCHS,
    check_request,
    hyperparameter_options,
    take_configuration,
    take_trainer,
    trainer_options,
)
from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, OptionalValue
from proxyflow.data.catalog import canonical_name
from proxyflow.scores.predictions import KINDS
from proxyflow.scores.table import ExampleScores, SelectionCost
from proxyflow.spaces.configuration import Configuration
from proxyflow.trainers import ImageTrainer, Trainer, TrainingSpec
from proxyflow.trainers.images.space import IMAGE_SPACE, image_configuration
from proxyflow.trainers.model_access import model_access

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext

MODEL = ("arch", *COMMON)
DECLARATIONS = ("prediction_kind", "held_out", "train_seconds")
OF_PREDICTIONS = ("dataset", *DATA_OPTIONS, "predictions", *DECLARATIONS, "price_per_hour", "system_metrics", "study")
# What only trainings can do whose models are at hand.
OF_MODELS = ("repeats", "holdout_folds", "early_epochs", "train_seconds", "save_model", "log_model")
EPOCH = Number(low=1, whole=True, example="2,5,10")


@command(
    "score",
    "Trains a model with the default hyperparameters on the full training set and logs how hard each training "
    "example is for it. Strategies select by these scores. One training gives all scores but heldout_loss, which needs "
    "holdout_folds. With --predictions nothing is trained: the scores are those of the predictions in a file.",
    "--dataset digits --arch xresnet18 --epochs 3",
    SCORES,
    DATA_SETS,
    TRAINERS,
)
@DATASET
@data_options
@ruled_option(
    "repeats",
    1,
    Number(low=1, whole=True, example="3"),
    "trainings whose scores are averaged, folds included",
    Topic.SCORING,
    common=True,
)
@ruled_option(
    "holdout_folds",
    0,
    Number(low=0, high=100, whole=True, example="5"),
    "folds for heldout_loss, with a training on the other folds for each; 0 disables it, 1 is not possible",
    Topic.SCORING,
    common=True,
)
@word_option(
    "early_epochs",
    AUTO,
    "Epochs after which el2n and grand_last_layer are computed, separated by commas: el2n after the first, "
    "el2n_epoch_N after each. auto is a tenth, a quarter and half of the epochs.",
    Topic.SCORING,
)
@word_option(
    "predictions",
    NONE,
    "Predictions of the training examples by a model of your own (.parquet, .csv or .npy); a table has a column id and "
    "a column per class (named by the class, or 0, 1, ...), an array is (n, classes); see docs/how-to/scores.md.",
    Topic.SCORING,
    common=True,
    metavar="FILE",
)
@ruled_option(
    "prediction_kind",
    AUTO,
    Choice((AUTO, *KINDS)),
    "what the predictions are; auto: probabilities if all rows are non-negative and sum to 1 within 0.001, else logits",
    Topic.SCORING,
)
@switch(
    "held_out",
    "each example was predicted by a model that did not train on it, as in cross-validation; gives heldout_loss",
    Topic.SCORING,
)
@ruled_option(
    "train_seconds",
    NONE,
    OptionalValue(Number(low=0, example="340"), NONE),
    "seconds that the model behind the predictions was trained for, which reports charge to strategies by its scores",
    Topic.SCORING,
)
@trainer_options
@hyperparameter_options(*MODEL)
@CONFIG
@EPOCHS
@SEED
@PRICE
@switch("save_model", f"log the first scoring model's weights {SAVE_MODEL_AS}", Topic.TRACKING)
@switch("log_model", f"log the first scoring model {LOG_MODEL_AS}", Topic.TRACKING)
@SYSTEM_METRICS
@STUDY
def score(
    dataset: str,
    repeats: int,
    holdout_folds: int,
    early_epochs: str,
    predictions: str,
    prediction_kind: str,
    held_out: bool,
    train_seconds: float | None,
    save_model: bool,
    log_model: bool,
    system_metrics: bool | None,
    study: str,
    **options: Any,
) -> None:
    if predictions != NONE:
        _refuse(lambda name: name not in OF_PREDICTIONS, "predictions are scored, and nothing is trained")
        cost = None if train_seconds is None else SelectionCost(train_seconds, math.nan, math.nan)
        _score_predictions(Path(predictions), prediction_kind, held_out, cost, dataset, study, system_metrics, options)
        return
    trainer = take_trainer(options)
    if trainer.writes_predictions:
        _refuse(OF_MODELS.__contains__, f"trainer={trainer.name} writes predictions, and gives no access to its models")
        dataset = canonical_name(dataset)
        _score_with_program(trainer, dataset, study, system_metrics, options, prediction_kind, held_out)
        return
    _refuse(DECLARATIONS.__contains__, "it is about predictions, and none are given with predictions=FILE")
    early = () if early_epochs == AUTO else parse_numbers("early_epochs", early_epochs, EPOCH)
    dataset = canonical_name(dataset)
    if holdout_folds == 1:
        raise InvalidValue("holdout_folds", 1, "one fold leaves nothing to train on; use 0, or 2 and more")
    configuration = _scored_with(options, trainer)
    where = take_data_options(options, trainer.settings.get("image_size"))
    context = open_context(study, where, options["price_per_hour"], system_metrics=system_metrics)
    check_request(trainer, (configuration,), context.say)
    from proxyflow.scoring.spec import ScoringSpec
    from proxyflow.studies.scores import make_scores  # imports mlflow

    training = TrainingSpec(configuration, options["epochs"], options["seed"], trainer)
    spec = ScoringSpec(training, repeats, holdout_folds, early)
    data = context.dataset(dataset)
    scores = make_scores(context, data, spec, main=True, weights=save_model, model=log_model)
    _print(context, dataset, scores)


def _print(context: StudyContext, dataset: str, scores: ExampleScores) -> None:
    print(f"score run {scores.run_id}: {len(scores.frame):,} examples by {', '.join(scores.names)}")
    use = {"dataset": dataset, "strategy": "easiest:0.1", "scores": scores.run_id}
    print(f"use it: {next_command('materialize', context.writer.study, context.data, **use)}")


def _refuse(concerned: Callable[[str], bool], why: str) -> None:
    """Refuses options that have no effect; at their defaults they are taken for not given, as `mlflow run` gives all.

    Raises:
        InvalidValue: an option is not at its default.
    """
    ctx = click.get_current_context()
    for param in ctx.command.params:
        name = str(param.name)
        value = ctx.params[name]
        if concerned(name) and value != param.type_cast_value(ctx, param.get_default(ctx)):
            shown = str(value).lower() if isinstance(value, bool) else value
            raise InvalidValue(name, shown, f"{why}; omit this option")


def _score_predictions(
    path: Path,
    kind: str,
    held_out: bool,
    cost: SelectionCost | None,
    dataset: str,
    study: str,
    system_metrics: bool | None,
    options: dict[str, Any],
) -> None:
    """Scores the predictions in a file, unless a finished run has."""
    from proxyflow.data.example_files import check_file  # imports pyarrow

    dataset = canonical_name(dataset)
    check_file(path, "predictions")
    where = take_data_options(options)
    context = open_context(study, where, options["price_per_hour"], system_metrics=system_metrics)
    from proxyflow.scoring.external import scores_from_file
    from proxyflow.studies.external_scores import ensure_external_scores  # imports mlflow, as the next one
    from proxyflow.tracking.runs.launch import end_assigned_run

    data = context.dataset(dataset)
    external = scores_from_file(path, data, kind, held_out, cost)
    for line in external.notes():
        context.say(line)
    scores = ensure_external_scores(context, data, external, main=True)
    end_assigned_run(f"These predictions had been scored before, in run {scores.run_id}.")
    _print(context, dataset, scores)


def _score_with_program(
    trainer: Trainer,
    dataset: str,
    study: str,
    system_metrics: bool | None,
    options: dict[str, Any],
    prediction_kind: str,
    held_out: bool,
) -> None:
    """Trains a program of the user on everything, and scores the predictions that it writes."""
    for name in MODEL:
        options.setdefault(name, IMAGE_SPACE[name].default)
    configuration = take_configuration(options, trainer)
    where = take_data_options(options)
    context = open_context(study, where, options["price_per_hour"], system_metrics=system_metrics)
    check_request(trainer, (configuration,), context.say)
    from proxyflow.studies.context import temporary_folder  # imports mlflow, as the next ones
    from proxyflow.studies.external_scores import ensure_external_scores
    from proxyflow.studies.program_scores import scores_by_program

    data = context.dataset(dataset)
    spec = TrainingSpec(configuration, options["epochs"], options["seed"], trainer)
    with temporary_folder() as folder:
        external = scores_by_program(context, data, spec, prediction_kind, held_out, folder)
        for line in external.notes():
            context.say(line)
        scores = ensure_external_scores(context, data, external, main=True)
    _print(context, dataset, scores)


def _scored_with(options: dict[str, Any], trainer: Trainer) -> Configuration:
    """The configuration of the scoring model.

    Raises:
        NoModelAccess: the trainer cannot score examples.
        InvalidValue: an option is a hyperparameter of another trainer.
    """
    access = model_access(trainer, "scoring examples")
    given = {name: options[name] for name in MODEL}
    if options["config"] != NONE:
        rule = f"trainer={trainer.name} scores with its default hyperparameters; omit config"
        raise InvalidValue("config", options["config"], rule)
    if isinstance(trainer, ImageTrainer):
        return image_configuration(**given)
    for name, value in given.items():
        if value != IMAGE_SPACE[name].default:
            raise InvalidValue(name, value, f"it is not of trainer={trainer.name}, which has its own; omit this option")
    return access.scoring_configuration(())
