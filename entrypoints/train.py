"""`train`: one model on one subset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from entrypoints import _cli
from proxyflow.data.catalog import canonical_name
from proxyflow.errors import InvalidValue
from proxyflow.progress import Progress
from proxyflow.strategies import Full, Strategy, parse_strategy
from proxyflow.training.engine import engines
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

if TYPE_CHECKING:
    from proxyflow.studies.lab import Lab
    from proxyflow.subsets import Subset
    from proxyflow.training.engine import TrainingResult


@_cli.command(
    "train",
    "Trains one model on one subset and logs accuracies and cost. The subset is a subset run's, or it is chosen from "
    "a data set by a strategy; what that needs (scores, the subset) is found on the tracking server or made.",
    "--dataset digits --strategy easiest:0.1 --learning-rate 0.01",
    f"{_cli.DATASETS}\n\n{_cli.STRATEGIES}",
)
@click.option(
    "--subset",
    default=_cli.NONE,
    show_default=True,
    help="Id of a subset run to train on; it decides data set and strategy, but for the budget of synthetic images, "
    "which --strategy may say (distilled:10,share=1.0). none: choose by --dataset and --strategy.",
)
@_cli.DATASET
@_cli.data_options
@click.option("--strategy", default="full", show_default=True, help=_cli.STRATEGY_HELP)
@_cli.SCORES
@_cli.settings_options(Hyperparameters, TrainingSettings)
@_cli.ENGINE
@_cli.SEED
@_cli.PRICE
@_cli.switch("save_model", f"log the best epoch's weights {_cli.SAVE_MODEL_AS}")
@_cli.switch("log_model", f"log the best epoch's model {_cli.LOG_MODEL_AS}")
@_cli.switch(
    "resume_training",
    "keep the state after each epoch until the run has finished, and go on where the last run of this very training "
    "ended that did not finish; the result is that of an uninterrupted one",
)
@_cli.SYSTEM_METRICS
@_cli.STUDY
def train(
    subset: str,
    dataset: str,
    strategy: str,
    scores: str,
    save_model: bool,
    log_model: bool,
    resume_training: bool,
    study: str,
    **options: Any,
) -> None:
    if resume_training and not engines[options["engine"]].resumes:
        able = ", ".join(name for name, plugin in engines.items() if plugin.resumes)
        raise InvalidValue("resume_training", "true", f"engine={options['engine']} cannot resume; use engine={able}")
    parsed = parse_strategy(strategy)
    dataset = canonical_name(dataset)
    hyperparameters = _cli.hyperparameters_of(options)
    settings = _cli.training_settings_of(options)
    lab = _cli.open_lab(
        study,
        _cli.take_data_options(options),
        options["price_per_hour"],
        system_metrics=options["system_metrics"],
    )
    from proxyflow.studies.plan import PlannedTraining
    from proxyflow.studies.trainings import Keep
    from proxyflow.studies.trainings import train as train_run

    _cli.check_precision(lab, settings)
    if subset != _cli.NONE:
        data, subset_run, parsed = _named_subset(lab, subset, parsed)
    else:
        data, subset_run = _chosen_subset(lab, dataset, parsed, scores, options["seed"], settings.image_size)
    settings = settings.replace(epochs=parsed.epochs(settings.epochs))
    planned = PlannedTraining(data.dataset, parsed, hyperparameters, settings, options["seed"], options["engine"])
    with Progress(planned.title, settings.epochs, "epochs") as progress:
        result, run_id = train_run(
            lab,
            planned,
            data,
            subset_run,
            main=True,
            on_share=lambda share, note: progress.advance(note=note),
            keep=Keep(weights=save_model, model=log_model, checkpoints=resume_training),
        )
    ended = " (diverged)" if result.diverged else ""
    print(
        f"training run {run_id}: {planned.title}: best accuracy {result.best_valid_accuracy:.4f} in epoch "
        f"{result.best_epoch}{ended}, {result.train_seconds:.1f} s in {_what_ran(result)}"
    )


def _what_ran(result: TrainingResult) -> str:
    """Precision, device and what made it slower or less exact than it might have been."""
    skipped = f", {result.skipped_steps} steps skipped by the loss scaling" if result.skipped_steps else ""
    shared = ", which others used as well" if result.device_shared else ""
    return f"{result.precision}{skipped} on {result.device}{shared} ({result.execution}, {result.threads} threads)"


def _named_subset(lab: Lab, run_id: str, strategy: Strategy) -> tuple[Subset, str, Strategy]:
    """The subset of a run, and the strategy that the training then is of."""
    from proxyflow.studies.subsets import load_subset

    data = load_subset(lab, run_id)
    own = parse_strategy(data.strategy)
    if isinstance(strategy, Full):
        return data, run_id, own
    if strategy.data_strategy == own.data_strategy:
        return data, run_id, strategy
    raise InvalidValue(
        "strategy", strategy.canonical, f"subset={run_id} was chosen by {own.canonical}; leave strategy out"
    )


def _chosen_subset(
    lab: Lab, name: str, strategy: Strategy, scores: str, seed: int, image_size: int | None
) -> tuple[Subset, str]:
    """The subset that the strategy gives, found or made, with its run."""
    from proxyflow.studies.distillations import ensure_distillation, spec_for
    from proxyflow.studies.scores import check_scores, chosen_scores
    from proxyflow.studies.subsets import ensure_subset

    check_scores(lab, scores, strategy)
    data = lab.dataset(name)
    if strategy.synthetic:
        return ensure_distillation(lab, data, spec_for(strategy, image_size))
    table = chosen_scores(lab, data, scores, strategy) if strategy.needs_scores else None
    return ensure_subset(lab, data, strategy, seed, table)


if __name__ == "__main__":
    _cli.run(train)
