"""`sweep`: a study, planned and run, or resumed."""

from __future__ import annotations

from typing import Any

import click

from entrypoints import _cli
from proxyflow.settings import Choice, Number, OptionalValue
from proxyflow.studies.executors import executors
from proxyflow.studies.plan import StudySpec, common_configuration
from proxyflow.studies.presets import load_strategies, strategy_lists
from proxyflow.training.grids import grids, load_grid
from proxyflow.training.hyperparameters import TrainingSettings

LIMIT = OptionalValue(Number(low=0, above=True, example="8"), _cli.NONE)


@_cli.command(
    "sweep",
    "Plans a study (data sets x strategies x configurations x seeds) and runs what is not finished yet: the same "
    "command after an interruption resumes. Scores and subsets are made first, then, configuration by configuration, "
    "the target and its proxies.",
    "--study mine --datasets digits --strategies full,easiest:0.25,random:0.25 --grid demo --epochs 2",
    f"{_cli.DATASETS}\n\n{_cli.STRATEGIES}",
)
@click.option(
    "--datasets",
    default="digits",
    show_default=True,
    help=f"Data sets, separated by commas, of {_cli.DATASET_NAMES}, or NAME@N, a fixed part of one; see Data "
    "sets below.",
)
@_cli.data_options
@click.option(
    "--strategies",
    default="demo",
    show_default=True,
    help=f"Strategies, separated by commas, or a list's name: {', '.join(strategy_lists)}. See Strategies below.",
)
@click.option(
    "--grid",
    default="demo",
    show_default=True,
    help=f"Configurations: {', '.join(grids)}, or a YAML file: a list of the settings that differ from the default.",
)
@_cli.settings_options(TrainingSettings)
@click.option("--seeds", default="0", show_default=True, help="Seeds, separated by commas; every run has each.")
@_cli.ENGINE
@_cli.ruled_option("executor", "local", Choice(tuple(executors)), "where trainings run")
@_cli.ruled_option("jobs", 1, Number(low=1, whole=True, example="1"), "trainings at a time")
@_cli.PRICE
@_cli.ruled_option("max_hours", _cli.NONE, LIMIT, "stop between two trainings after so many hours")
@_cli.ruled_option("max_cost_usd", _cli.NONE, LIMIT, "stop after so many US dollars, by price_per_hour")
@_cli.switch("dry_run", "print the runs, which are finished, and the estimated time and cost; run nothing")
@_cli.STUDY
def sweep(
    datasets: str, strategies: str, grid: str, seeds: str, executor: str, jobs: int, study: str, **options: Any
) -> None:
    from proxyflow.errors import InvalidValue

    names = _cli.parse_datasets(datasets)
    parsed_seeds = _cli.parse_numbers("seeds", seeds, _cli.SEED_RULE)
    configurations = load_grid(grid)
    settings = _cli.training_settings_of(options)
    price = options["price_per_hour"]
    if options["max_cost_usd"] is not None and price is None:
        raise InvalidValue("max_cost_usd", options["max_cost_usd"], "give price_per_hour with it, in US dollars")
    executors[executor].check(jobs)
    spec = StudySpec(
        datasets=names,
        strategies=load_strategies(strategies),
        grid=configurations,
        settings=settings,
        seeds=parsed_seeds,
        engine=options["engine"],
        scoring_configuration=common_configuration(configurations),
        scoring=settings,
    )
    lab = _cli.open_lab(study, _cli.take_data_options(options), price)
    _cli.check_precision(lab, settings)
    _cli.run_or_forecast(lab, spec, executor, options["dry_run"], options["max_hours"], options["max_cost_usd"])


if __name__ == "__main__":
    _cli.run(sweep)
