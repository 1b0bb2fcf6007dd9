"""`sweep`: a study, planned and run, or resumed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyflow.cli.command import command
from proxyflow.cli.launched import check_used
from proxyflow.cli.listings import data_sets, executor_list, strategy_list, trainer_list
from proxyflow.cli.opening import open_context, retry_timeout
from proxyflow.cli.options import AUTO, NONE, parse_numbers, ruled_option, switch, word_option
from proxyflow.cli.program import next_command
from proxyflow.cli.shared import (
    PRICE,
    SEED_RULE,
    SYSTEM_METRICS,
    data_options,
    parse_datasets,
    study_option,
    take_data_options,
)
from proxyflow.cli.training import (
    COMMON,
    EPOCHS,
    check_request,
    hyperparameter_options,
    take_common,
    take_trainer,
    trainer_options,
)
from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, OptionalValue
from proxyflow.proxies import data_of
from proxyflow.spaces.grids import grid_of, load_grid
from proxyflow.studies.executors import Resources, executors
from proxyflow.studies.plan import LATEST, StudySpec
from proxyflow.studies.presets import load_strategies, strategy_lists
from proxyflow.studies.study_file import StudyFile, load_study_file
from proxyflow.tracking.names import check_study_name, is_study_file
from proxyflow.trainers import ImageTrainer

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext
    from proxyflow.studies.scheduler import ExecutionOptions

# As `proxyflow.studies.scheduler.RETRIES`, whose import takes seconds.
RETRIES = 2
NOT_IN_FILES = ("dry_run",)
DEMO = "demo"  # the grid of the image trainer that a sweep takes by default
STUDY_FILES = """\b
Study files:
  study: pets                        # default: the file's name
  datasets: [digits, fashion-mnist@2000]
  strategies: [paper]
  grid: paper                        # or a list: [{}, {learning_rate: 0.01}]
  epochs: 20
  seeds: [0, 1]
  budget: {max_hours: 8, max_cost_usd: 20, price_per_hour: 2.5}
  Every other option may be a key as well. Paths are relative to the file."""
LIMIT = OptionalValue(Number(low=0, above=True, example="8"), NONE)


@command(
    "sweep",
    "Plans a study (data sets x strategies x configurations x seeds) and runs the trainings that are not finished. "
    "After any interruption, the same command resumes; several processes with the same command share the work. Scores "
    "and subsets are made first, then, configuration by configuration, the target and its cheap proxies, then the "
    "expensive proxies.",
    "--study mine --datasets digits --strategies full,easiest:0.25,random:0.25 --grid demo --epochs 2",
    lambda: STUDY_FILES,
    data_sets,
    strategy_list,
    executor_list,
    trainer_list,
)
@click.option(
    "--datasets",
    default="digits",
    show_default=True,
    help="Data sets, separated by commas; NAME@N is a fixed part with N training examples; see Data sets below. Put a "
    "name with a comma in its path in double quotes.",
)
@data_options
@click.option(
    "--strategies",
    default="demo",
    show_default=True,
    help=f"Strategies, separated by commas, or a named list ({', '.join(strategy_lists)}); see Strategies below.",
)
@click.option(
    "--grid",
    default=DEMO,
    show_default=True,
    help=f"Configurations: {', '.join(ImageTrainer.grids)}; a YAML file with a list of the hyperparameters that differ "
    "from the default; or SPACE.yaml@36, 36 configurations drawn evenly from the space in that file.",
)
@word_option(
    "scores",
    AUTO,
    "For strategies that need scores: id of a score run; latest, the newest score run of a data set that has what the "
    "strategies need; or auto, scores by a model of the study's trainer (made if there are none), which is latest for "
    "trainers that give no access to their models.",
)
@trainer_options
@hyperparameter_options(*COMMON)
@EPOCHS
@click.option("--seeds", default="0", show_default=True, help="Seeds, separated by commas; all trainings use each.")
@ruled_option(
    "executor",
    "local",
    Choice(executors),
    "where trainings run; see Executors below",
)
@ruled_option(
    "jobs",
    AUTO,
    OptionalValue(Number(low=1, whole=True, example="4"), AUTO),
    "concurrent trainings; auto is as many as fit on the free GPUs, or one without a GPU",
)
@ruled_option(
    "gpus_per_job",
    1,
    Number(low=0, high=64, above=True, example="0.5"),
    "GPUs per training with executor=ray; below 1, trainings share a GPU",
)
@word_option(
    "address",
    NONE,
    "Ray cluster: auto is the cluster of this machine, ray://HOST:10001 another one, none starts Ray on this machine.",
)
@ruled_option(
    "retries",
    RETRIES,
    Number(low=0, high=100, whole=True, example="2"),
    "retries of a training after a possibly transient error (network, lost worker); other errors are not retried",
)
@PRICE
@ruled_option("max_hours", NONE, LIMIT, "stop between two runs after this many hours")
@ruled_option("max_cost_usd", NONE, LIMIT, "stop between two runs after this cost in US dollars (needs price_per_hour)")
@switch("dry_run", "print the plan, the finished runs, and the estimated time and cost; run nothing")
@SYSTEM_METRICS
@study_option("Or a study file (.yaml), see Study files below.")
def sweep(**options: Any) -> None:
    file, asked = None, dict(options)
    if is_study_file(options["study"]):
        ctx = click.get_current_context()
        file = load_study_file(options["study"], [name for name in options if name not in NOT_IN_FILES])
        _take_from_file(ctx, file, options)
    with _at(file, "study"):
        if options["study"] != AUTO:
            check_study_name(options["study"])
    used = {name: value for name, value in options.items() if name != "study"}
    spec = _spec(options, file)
    price, hours = options["price_per_hour"], options["max_hours"]
    address = None if options["address"] == NONE else options["address"]
    resources = Resources(options["jobs"], options["gpus_per_job"], address)
    executor = executors[options["executor"]]
    with _at(file):
        if options["max_cost_usd"] is not None and price is None:
            raise InvalidValue(
                "max_cost_usd", f"{options['max_cost_usd']:g}", "give price_per_hour with it, in US dollars"
            )
        executor.check(resources)
    context = open_context(
        options["study"],
        take_data_options(options, spec.trainer.settings.get("image_size")),
        price,
        retry_timeout(hours),
        options["system_metrics"],
    )
    check_used(context.writer, asked, used)
    check_request(spec.trainer, spec.grid, context.say)
    from proxyflow.studies.scheduler import ExecutionOptions, Limits  # imports mlflow, as the next one
    from proxyflow.studies.scores import check_scores

    check_scores(context, spec.scores, *data_of(spec.strategies))
    how = ExecutionOptions(executor, resources, Limits(hours, options["max_cost_usd"]), options["retries"])
    _run_or_forecast(context, spec, how, options["dry_run"])


def _take_from_file(ctx: click.Context, file: StudyFile, options: dict[str, Any]) -> None:
    """Replaces options by the values of the file; an option in the file must be at its default."""
    for param in ctx.command.params:
        name = str(param.name)
        if name not in file.lines or name == "study":
            continue
        with file.at(name):
            if options[name] != param.type_cast_value(ctx, param.get_default(ctx)):
                raise InvalidValue(name, options[name], f"{file.path} sets it as well; set it in one place")
            if name in file.values:
                options[name] = param.type_cast_value(ctx, file.values[name])
    options["study"] = file.study


def _at(file: StudyFile | None, key: str = "") -> contextlib.AbstractContextManager[None]:
    return file.at(key) if file is not None else contextlib.nullcontext()


def _spec(options: dict[str, Any], file: StudyFile | None) -> StudySpec:
    """The study that the options describe; messages name the line of the file that a value came from."""
    with _at(file, "datasets"):
        datasets = parse_datasets(options["datasets"])
    with _at(file, "seeds"):
        seeds = parse_numbers("seeds", options["seeds"], SEED_RULE)
    with _at(file):
        trainer = take_trainer(options, None if file is None else Path(file.path).parent)
    with _at(file, "grid"):
        written = file.configurations if file is not None else None
        if written is None and options["grid"] == DEMO and DEMO not in trainer.grids:
            rule = f"trainer={trainer.name} has no grid of its own; give configurations, or a space: grid=space.yaml@16"
            raise InvalidValue("grid", "", rule)
        if written is None:
            grid = load_grid(options["grid"], trainer.space, trainer.grids)
        else:
            grid = grid_of(written, "grid", trainer.space)
    with _at(file):
        grid = take_common(options, trainer, grid)
    with _at(file, "strategies"):
        strategies = load_strategies(options["strategies"])
        spec = StudySpec(datasets, strategies, grid, trainer, options["epochs"], seeds, options["scores"])
    with _at(file, "scores"):
        if len(datasets) > 1 and spec.scores not in (AUTO, LATEST):
            rule = f"a score run is of one data set, and the study has {len(datasets)}; use {AUTO} or {LATEST}"
            raise InvalidValue("scores", spec.scores, rule)
    return spec


def _run_or_forecast(context: StudyContext, spec: StudySpec, how: ExecutionOptions, dry_run: bool) -> None:
    """Runs a study, or prints its plan."""
    from proxyflow.studies.study import run_study  # imports mlflow, as the next ones
    from proxyflow.tracking.runs.launch import end_assigned_run

    # Refused before any run is made where there is no room for them.
    jobs = how.executor.jobs(how.resources)
    if dry_run:
        from proxyflow.studies.forecast import forecast, forecast_lines  # imports torch

        for line in forecast_lines(forecast(context, spec, jobs), context.price_per_hour):
            print(line)
        end_assigned_run("A dry run: it printed the plan of a study and ran nothing.")
        return
    outcome = run_study(context, spec, how)
    print(
        f"study {context.writer.study}: {outcome.planned} trainings planned, {outcome.found + outcome.made} finished "
        f"({outcome.made} now)" + (f"; {outcome.stopped}" if outcome.stopped else "")
    )
    print(f"report: {next_command('report', context.writer.study)}")
