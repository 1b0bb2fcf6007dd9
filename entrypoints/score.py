"""`score`: difficulty scores of every training example."""

from __future__ import annotations

from typing import Any

from entrypoints import _cli
from proxyflow.data.catalog import canonical_name
from proxyflow.settings import Number
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings


@_cli.command(
    "score",
    "Trains a model with the default hyperparameters on the full training set and logs how hard each training "
    "example is to it: loss, margin, entropy, EL2N, forgetting events. The strategies easiest and hardest choose by "
    "these.",
    "--dataset digits --arch xresnet18 --epochs 3",
    _cli.DATASETS,
)
@_cli.DATASET
@_cli.data_options
@_cli.ruled_option("repeats", 1, Number(low=1, whole=True, example="3"), "trainings whose scores are averaged")
@_cli.ruled_option(
    "holdout_folds",
    0,
    Number(low=0, high=100, whole=True, example="5"),
    "folds for heldout_loss, each a training on the other folds; 0 leaves it out, 1 is not possible",
)
@_cli.settings_options(Hyperparameters, TrainingSettings, only=("arch", *TrainingSettings.__dataclass_fields__))
@_cli.ENGINE
@_cli.SEED
@_cli.PRICE
@_cli.STUDY
def score(dataset: str, repeats: int, holdout_folds: int, study: str, **options: Any) -> None:
    from proxyflow.errors import InvalidValue

    dataset = canonical_name(dataset)
    if holdout_folds == 1:
        raise InvalidValue("holdout_folds", 1, "one fold leaves nothing to train on; use 0, or 2 and more")
    lab = _cli.open_lab(study, _cli.take_data_options(options), options.pop("price_per_hour"))
    settings = _cli.training_settings_of(options)
    _cli.check_precision(lab, settings)
    from proxyflow.scoring.scorer import ScoringSpec
    from proxyflow.studies.scores import make_scores
    from proxyflow.training.engine import TrainingSpec

    hyperparameters = _cli.hyperparameters_of(options)
    training = TrainingSpec(hyperparameters, settings, **options)
    scores = make_scores(lab, lab.dataset(dataset), ScoringSpec(training, repeats, holdout_folds), main=True)
    print(f"score run {scores.run_id}: {len(scores.frame):,} examples by {', '.join(scores.names)}")
    use = _cli.next_command("materialize", dataset=dataset, strategy="easiest:0.1", scores=scores.run_id)
    print(f"use it: {use}")


if __name__ == "__main__":
    _cli.run(score)
