"""`sweep`: a study, planned and run, or resumed."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from entrypoints import _cli
from proxyflow.errors import InvalidValue
from proxyflow.settings import Choice, Number, OptionalValue
from proxyflow.studies.executors import Resources, executors
from proxyflow.studies.plan import StudySpec, common_configuration
from proxyflow.studies.presets import load_strategies, strategy_lists
from proxyflow.studies.study_file import StudyFile, is_study_file, load_study_file
from proxyflow.training.grids import grid_of, grids, load_grid
from proxyflow.training.hyperparameters import TrainingSettings

# As `retries` of `proxyflow.studies.study`, whose import takes seconds.
RETRIES = 2
NOT_IN_FILES = ("dry_run",)
STUDY_FILES = """\b
Study files:
  study: pets                        # else the file's name
  datasets: [digits, fashion-mnist@2000]
  strategies: [paper]
  grid: paper                        # or a list: [{}, {learning_rate: 0.01}]
  epochs: 20
  seeds: [0, 1]
  budget: {max_hours: 8, max_cost_usd: 20, price_per_hour: 2.5}
  Every other option may be a key as well."""
LIMIT = OptionalValue(Number(low=0, above=True, example="8"), _cli.NONE)


@_cli.command(
    "sweep",
    "Plans a study (data sets x strategies x configurations x seeds) and runs what is not finished yet: the same "
    "command after an interruption of any kind resumes, and several of them share the work. Scores and subsets are "
    "made first, then, configuration by configuration, the target and its cheap proxies, then dear proxies.",
    "--study mine --datasets digits --strategies full,easiest:0.25,random:0.25 --grid demo --epochs 2",
    f"{STUDY_FILES}\n\n{_cli.DATASETS}\n\n{_cli.STRATEGIES}",
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
@_cli.ruled_option(
    "executor",
    "local",
    Choice(tuple(executors)),
    "where trainings run; " + "; ".join(f"{name}: {executor.description}" for name, executor in executors.items()),
)
@_cli.ruled_option(
    "jobs",
    _cli.AUTO,
    OptionalValue(Number(low=1, whole=True, example="4"), _cli.AUTO),
    "trainings at a time; auto is one per free GPU, or one where there is none",
)
@_cli.ruled_option(
    "gpus_per_job",
    1,
    Number(low=0, high=64, above=True, example="0.5"),
    "GPUs of each training under executor=ray; less than 1 shares a GPU",
)
@click.option(
    "--address",
    default=_cli.NONE,
    show_default=True,
    help="The Ray cluster: auto is the one that this machine is part of, ray://HOST:10001 another, none starts one on "
    "this machine.",
)
@_cli.ruled_option(
    "retries",
    RETRIES,
    Number(low=0, high=100, whole=True, example="2"),
    "how often a training is tried again whose failure may pass: network, lost worker; others are not",
)
@_cli.PRICE
@_cli.ruled_option("max_hours", _cli.NONE, LIMIT, "stop between two runs after so many hours")
@_cli.ruled_option("max_cost_usd", _cli.NONE, LIMIT, "stop after so many US dollars, by price_per_hour")
@_cli.switch("dry_run", "print the plan, what is finished, and the estimated time and cost; run nothing")
@_cli.SYSTEM_METRICS
@_cli.study_option("Or a .yaml file that describes a study, see Study files below.")
def sweep(**options: Any) -> None:
    file = None
    if is_study_file(options["study"]):
        ctx = click.get_current_context()
        file = load_study_file(options["study"], [name for name in options if name not in NOT_IN_FILES])
        _take_from_file(ctx, file, options)
    spec = _spec(options, file)
    price, hours = options["price_per_hour"], options["max_hours"]
    address = None if options["address"] in ("", _cli.NONE) else options["address"]
    resources = Resources(options["jobs"], options["gpus_per_job"], address)
    executor = executors[options["executor"]]
    with _at(file):
        if options["max_cost_usd"] is not None and price is None:
            raise InvalidValue(
                "max_cost_usd", f"{options['max_cost_usd']:g}", "give price_per_hour with it, in US dollars"
            )
        executor.check(resources)
    lab = _cli.open_lab(
        options["study"],
        _cli.take_data_options(options),
        price,
        _cli.patience(hours),
        options["system_metrics"],
    )
    _cli.check_precision(lab, spec.settings)
    from proxyflow.studies.study import How, Limits

    how = How(executor, resources, Limits(hours, options["max_cost_usd"]), options["retries"])
    _cli.run_or_forecast(lab, spec, how, options["dry_run"])


def _take_from_file(ctx: click.Context, file: StudyFile, options: dict[str, Any]) -> None:
    """Puts what the file says in the place of the options, which must not say something else."""
    for param in ctx.command.params:
        name = str(param.name)
        if name not in file.lines or name == "study":
            continue
        with file.at(name):
            if options[name] != param.type_cast_value(ctx, param.get_default(ctx)):
                raise InvalidValue(name, options[name], f"{file.path} says it as well; say it in one place")
            if name in file.values:
                options[name] = param.type_cast_value(ctx, file.values[name])
    options["study"] = file.study


def _at(file: StudyFile | None, key: str = "") -> contextlib.AbstractContextManager[None]:
    return file.at(key) if file is not None else contextlib.nullcontext()


def _spec(options: dict[str, Any], file: StudyFile | None) -> StudySpec:
    """The study that the options describe; messages name the line of the file that a value came from."""
    with _at(file, "datasets"):
        datasets = _cli.parse_datasets(options["datasets"])
    with _at(file, "seeds"):
        seeds = _cli.parse_numbers("seeds", options["seeds"], _cli.SEED_RULE)
    with _at(file, "grid"):
        written = file.configurations if file is not None else None
        grid = load_grid(options["grid"]) if written is None else grid_of(written, "grid")
    with _at(file, "epochs"):
        settings = _cli.training_settings_of(options)
    with _at(file, "strategies"):
        return StudySpec(
            datasets=datasets,
            strategies=load_strategies(options["strategies"]),
            grid=grid,
            settings=settings,
            seeds=seeds,
            engine=options["engine"],
            scoring_configuration=common_configuration(grid),
            scoring=settings,
        )


if __name__ == "__main__":
    _cli.run(sweep)
