"""`score`: difficulty scores of every training example."""

from __future__ import annotations

from typing import Any

import click

from entrypoints import _cli
from proxyflow.data.catalog import canonical_name
from proxyflow.settings import Number
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

EPOCH = Number(low=1, whole=True, example="2,5,10")


@_cli.command(
    "score",
    "Trains a model with the default hyperparameters on the full training set and logs how hard each training "
    "example is to it. Strategies choose by these scores. One training gives all of them but heldout_loss, which needs "
    "holdout_folds.",
    "--dataset digits --arch xresnet18 --epochs 3",
    f"{_cli.SCORE_NAMES}\n\n{_cli.DATASETS}",
)
@_cli.DATASET
@_cli.data_options
@_cli.ruled_option(
    "repeats", 1, Number(low=1, whole=True, example="3"), "trainings whose scores are averaged, folds included"
)
@_cli.ruled_option(
    "holdout_folds",
    0,
    Number(low=0, high=100, whole=True, example="5"),
    "folds for heldout_loss, each a training on the other folds; 0 leaves it out, 1 is not possible",
)
@click.option(
    "--early-epochs",
    default="auto",
    show_default=True,
    help="Epochs after which el2n and grand_last_layer are taken, separated by commas: el2n at the first, el2n_epoch_N "
    "at each. auto is a tenth, a quarter and half of the epochs.",
)
@_cli.settings_options(Hyperparameters, TrainingSettings, only=("arch", *TrainingSettings.__dataclass_fields__))
@_cli.ENGINE
@_cli.SEED
@_cli.PRICE
@_cli.switch("save_model", f"log the first scoring model's weights {_cli.SAVE_MODEL_AS}")
@_cli.switch("log_model", f"log the first scoring model {_cli.LOG_MODEL_AS}")
@_cli.SYSTEM_METRICS
@_cli.STUDY
def score(
    dataset: str,
    repeats: int,
    holdout_folds: int,
    early_epochs: str,
    save_model: bool,
    log_model: bool,
    system_metrics: bool | None,
    study: str,
    **options: Any,
) -> None:
    from proxyflow.errors import InvalidValue

    early = () if early_epochs == _cli.AUTO else _cli.parse_numbers("early_epochs", early_epochs, EPOCH)
    dataset = canonical_name(dataset)
    if holdout_folds == 1:
        raise InvalidValue("holdout_folds", 1, "one fold leaves nothing to train on; use 0, or 2 and more")
    price = options.pop("price_per_hour")
    lab = _cli.open_lab(study, _cli.take_data_options(options), price, system_metrics=system_metrics)
    settings = _cli.training_settings_of(options)
    _cli.check_precision(lab, settings)
    from proxyflow.scoring.spec import ScoringSpec
    from proxyflow.studies.scores import make_scores
    from proxyflow.training.engine import TrainingSpec

    hyperparameters = _cli.hyperparameters_of(options)
    training = TrainingSpec(hyperparameters, settings, **options)
    spec = ScoringSpec(training, repeats, holdout_folds, early)
    data = lab.dataset(dataset)
    scores = make_scores(lab, data, spec, main=True, save_model=save_model, log_model=log_model)
    print(f"score run {scores.run_id}: {len(scores.frame):,} examples by {', '.join(scores.names)}")
    use = _cli.next_command("materialize", dataset=dataset, strategy="easiest:0.1", scores=scores.run_id)
    print(f"use it: {use}")


if __name__ == "__main__":
    _cli.run(score)
