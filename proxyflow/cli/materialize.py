"""`materialize`: a subset as a self-contained artifact."""

from __future__ import annotations

from typing import Any

from proxyflow.cli.command import command
from proxyflow.cli.listings import DATA_SETS, STRATEGIES
from proxyflow.cli.opening import open_context
from proxyflow.cli.program import next_command
from proxyflow.cli.shared import DATASET, SCORES, SEED, STUDY, data_options, strategy_option, take_data_options
from proxyflow.cli.training import DEFAULT_EPOCHS
from proxyflow.core.errors import InvalidValue
from proxyflow.data.catalog import canonical_name
from proxyflow.proxies import Proxy, check_data_only, parse_proxy
from proxyflow.strategies import Distilled
from proxyflow.trainers import ImageTrainer
from proxyflow.trainers.images.space import image_configuration

IMAGES = "images"  # the modality of the trainer that makes scores here


@command(
    "materialize",
    "Selects a subset of a data set by a strategy and logs it as a self-contained artifact (Parquet files with the "
    "examples, a manifest with checksums, and the validation set).",
    "--dataset digits --strategy random:0.1",
    DATA_SETS,
    STRATEGIES,
)
@DATASET
@data_options
@strategy_option("random:0.1")
@SCORES
@SEED
@STUDY
def materialize(dataset: str, strategy: str, scores: str, seed: int, study: str, **options: Any) -> None:
    parsed = check_data_only(parse_proxy(strategy), "materialize selects examples and trains nothing")
    dataset = canonical_name(dataset)
    where = take_data_options(options)
    if isinstance(parsed, Distilled):
        use = {
            "dataset": dataset,
            "method": parsed.method,
            "images_per_class": parsed.count,
            "iterations": parsed.iterations or None,
            "seed": seed or None,
        }
        distill = next_command("distill", study, where, **use)
        raise InvalidValue("strategy", parsed.canonical, f"it makes images and selects none; use {distill}")
    context = open_context(study, where)
    from proxyflow.studies.dependencies import scoring_spec  # imports mlflow, as the next ones
    from proxyflow.studies.scores import NoScores, check_scores, named_scores, scores_for
    from proxyflow.studies.subsets import make_subset
    from proxyflow.studies.support import check_strategy

    check_scores(context, scores, parsed)
    trainer = ImageTrainer()
    check_strategy(context, dataset, Proxy(parsed), scores, trainer)
    data, table = context.dataset(dataset), None
    if parsed.needs_scores:
        if data.modality != IMAGES and named_scores(context, data, scores, parsed.needs) is None:
            raise NoScores(dataset, parsed.needs, f"trainer={trainer.name} cannot train on {data.modality}")
        # As published: a model with the default hyperparameters, trained on all examples.
        spec = scoring_spec(trainer, (image_configuration(),), DEFAULT_EPOCHS, [parsed])
        table = scores_for(context, data, scores, spec, parsed.needs)
    subset, run_id = make_subset(context, data, parsed, seed, table, main=True)
    print(f"subset run {run_id}: {len(subset.train):,} examples of {dataset} by {subset.strategy}")
    print(f"use it: {next_command('train', context.writer.study, context.data, subset=run_id, seed=seed or None)}")
