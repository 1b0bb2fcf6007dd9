"""`train`: one model on one subset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxyflow.cli.command import command
from proxyflow.cli.launched import check_used
from proxyflow.cli.listings import DATA_SETS, REDUCTIONS, STRATEGIES, TRAINERS
from proxyflow.cli.opening import open_context
from proxyflow.cli.options import NONE, Topic, switch, word_option
from proxyflow.cli.shared import (
    DATASET,
    LOG_MODEL_AS,
    PRICE,
    SAVE_MODEL_AS,
    SCORES,
    SEED,
    STUDY,
    SYSTEM_METRICS,
    data_options,
    strategy_option,
    take_data_options,
)
from proxyflow.cli.training import (
    CONFIG,
    EPOCHS,
    check_request,
    hyperparameter_options,
    take_configuration,
    take_trainer,
    trainer_options,
)
from proxyflow.core.errors import InvalidValue
from proxyflow.core.progress import Progress
from proxyflow.data.catalog import canonical_name
from proxyflow.data.evaluation import TEST, VALID, EvaluationSettings
from proxyflow.proxies import Proxy, parse_proxy
from proxyflow.strategies import Full
from proxyflow.trainers.images.space import IMAGE_SPACE

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext
    from proxyflow.studies.plan import PlannedTraining
    from proxyflow.subsets import Subset
    from proxyflow.trainers import Trainer, TrainingResult


@command(
    "train",
    "Trains one configuration on one subset and logs its metrics and cost. The subset is that of a subset run, or a "
    "strategy selects it from a data set. Scores and subsets are taken from the tracking server, or made if missing.",
    "--dataset digits --strategy easiest:0.1 --learning-rate 0.01",
    DATA_SETS,
    STRATEGIES,
    REDUCTIONS,
    TRAINERS,
)
@word_option(
    "subset",
    NONE,
    "Id of a subset run to train on. It determines data set, strategy, validation and test examples; only the budget "
    "of synthetic images may be changed with --strategy (distilled:10,share=1.0). none: use --dataset and --strategy.",
    Topic.DATA,
)
@DATASET
@data_options
@strategy_option("full")
@SCORES
@trainer_options
@hyperparameter_options()
@CONFIG
@EPOCHS
@SEED
@PRICE
@switch("save_model", f"log the best epoch's weights {SAVE_MODEL_AS}", Topic.TRACKING)
@switch("log_model", f"log the best epoch's model {LOG_MODEL_AS}", Topic.TRACKING)
@switch(
    "resume_training",
    "save a checkpoint after each epoch until the run has finished, and resume from the last checkpoint of an "
    "unfinished run of the same training; the result is that of an uninterrupted training",
    Topic.TRAINING,
)
@SYSTEM_METRICS
@STUDY
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
    parsed = parse_proxy(strategy)
    dataset = canonical_name(dataset)
    trainer, epochs = take_trainer(options), options["epochs"]
    single = {name: options[name] for name in IMAGE_SPACE.names}
    configuration = take_configuration(options, trainer)
    where = take_data_options(options, trainer.settings.get("image_size"))
    from proxyflow.studies.plan import (  # imports mlflow, as the next ones
        PlannedTraining,
        check_reductions,
        training_spec,
    )
    from proxyflow.studies.support import check_trainable
    from proxyflow.studies.trainings import SaveOptions, apply_budget
    from proxyflow.studies.trainings import train as train_run

    save = SaveOptions(weights=save_model, model=log_model, checkpoints=resume_training)
    save.check(trainer)
    context = open_context(study, where, options["price_per_hour"], system_metrics=options["system_metrics"])
    check_request(trainer, (configuration,), context.say)
    check_reductions([parsed], trainer)
    if subset != NONE:
        data, subset_run, parsed = _named_subset(context, subset, parsed)
        check_reductions([parsed], trainer)
        check_trainable(parsed, data, trainer, (configuration,))
        _check_judged_by(context.data.evaluation, data, subset_run)
        dataset = data.dataset
    planned = PlannedTraining(dataset, training_spec(configuration, epochs, options["seed"], trainer, parsed))
    spec = planned.spec
    if subset == NONE:
        data, subset_run = _chosen_subset(context, planned, scores, trainer, epochs)
    asked = {"dataset": dataset, "strategy": parse_proxy(strategy).canonical, "epochs": epochs, **single}
    _, shown, _ = apply_budget(planned, data)
    used = {"dataset": data.dataset, "strategy": parsed.canonical, "epochs": spec.epochs}
    used |= {name: shown.configuration.get(name, NONE) for name in single}
    check_used(context.writer, asked, used)
    with Progress(planned.title, spec.epochs, "epochs") as progress:
        result, run_id = train_run(
            context,
            planned,
            data,
            subset_run,
            main=True,
            on_progress=lambda share, note: progress.advance(note=note) if share else progress.step(0.0, note),
            save=save,
        )
    ended = " (diverged)" if result.diverged else ""
    print(
        f"training run {run_id}: {planned.title}: best {result.metric.label} {result.best:.4f} in epoch "
        f"{result.best_epoch}{ended}, {result.train_seconds:.1f} s{_what_ran(result)}"
    )


def _what_ran(result: TrainingResult) -> str:
    """Precision, device and execution of a training, as far as the trainer reports them."""
    facts = result.params
    if "precision_used" not in facts:
        return f" on {facts['device']}" if "device" in facts else ""
    skipped = result.metrics.get("skipped_steps")
    left_out = f", {skipped:.0f} steps skipped by the loss scaling" if skipped else ""
    shared = ", shared with other processes" if facts["device_shared"] else ""
    how = f"({facts['execution']}, {facts['threads']} threads)"
    return f" in {facts['precision_used']}{left_out} on {facts['device']}{shared} {how}"


def _named_subset(context: StudyContext, run_id: str, proxy: Proxy) -> tuple[Subset, str, Proxy]:
    """The subset of a run, and the proxy of a training on it."""
    from proxyflow.studies.subsets import load_subset  # imports mlflow

    data = load_subset(context, run_id)
    own = parse_proxy(data.strategy)  # of an earlier version it may name epochs, too
    if isinstance(proxy.data, Full):
        return data, run_id, Proxy(own.data, proxy.reductions or own.reductions)
    if proxy.subset_strategy == own.subset_strategy:
        return data, run_id, proxy
    rule = f"subset={run_id} was selected by {own.canonical}; leave out {proxy.data.canonical}"
    raise InvalidValue("strategy", proxy.canonical, rule)


def _check_judged_by(asked: EvaluationSettings, subset: Subset, run_id: str) -> None:
    """Rejects numbers of validation or test examples that differ from the subset's; defaults are always accepted."""
    # A subset of some classes has the validation and test examples of these classes alone.
    whole = len(subset.classes) == len(subset.class_names)
    numbers = {VALID: (asked.valid_examples, subset.valid), TEST: (asked.test_examples or None, subset.test)}
    for option, (number, images) in numbers.items():
        has = 0 if images is None else len(images)
        if number is not None and (number != has if whole or not has else number < has):
            rule = f"subset={run_id} has {has:,} of these examples, which no option changes; omit {option}"
            raise InvalidValue(option, number, rule)


def _chosen_subset(
    context: StudyContext, planned: PlannedTraining, scores: str, trainer: Trainer, full_epochs: int
) -> tuple[Subset, str]:
    """The subset of the strategy, found or made, and the id of its run.

    Args:
        trainer: as users gave it, which scores examples if that is needed.
    """
    from proxyflow.studies.dependencies import Dependencies, scoring_spec  # imports mlflow, as the next ones
    from proxyflow.studies.scores import check_scores
    from proxyflow.studies.subsets import load_planned_subset
    from proxyflow.studies.support import check_strategy

    strategy, grid = planned.strategy.data, (planned.spec.configuration,)
    check_scores(context, scores, strategy)
    check_strategy(context, planned.dataset, planned.strategy, scores, trainer, grid)
    dependencies = Dependencies(
        context,
        [planned.dataset],
        [strategy],
        lambda: scoring_spec(trainer, grid, full_epochs, [strategy]),
        scores,
    )
    dependencies.check([planned])
    reference = dependencies.find(planned)
    if reference is None:
        reference = dependencies.ensure(planned)
    else:
        title = f"subset {strategy.subset_strategy.canonical} of {planned.dataset}"
        context.say(f"{title}: found in run {reference.run_id}")
    return load_planned_subset(context, planned, reference), reference.run_id
