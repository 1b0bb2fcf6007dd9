"""`sweep`: a study, planned and run, or resumed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.cli.command import command
from proxyflow.cli.dry_run import dry_run_option, print_forecast
from proxyflow.cli.execution import execution_options, take_execution
from proxyflow.cli.files import at
from proxyflow.cli.listings import DATA_SETS, EXECUTORS, REDUCTIONS, STRATEGIES, TRAINERS, plain
from proxyflow.cli.options import AUTO, Topic, parse_numbers, text_option, word_option
from proxyflow.cli.program import next_command
from proxyflow.cli.request import open_request
from proxyflow.cli.shared import (
    SEED_RULE,
    SYSTEM_METRICS,
    data_options,
    parse_datasets,
    study_option,
)
from proxyflow.cli.training import (
    COMMON,
    EPOCHS,
    hyperparameter_options,
    take_common,
    take_trainer,
    trainer_options,
)
from proxyflow.core.errors import InvalidValue
from proxyflow.spaces.grids import grid_of, load_grid
from proxyflow.studies.plan import LATEST, StudySpec
from proxyflow.studies.presets import load_strategies, strategy_lists
from proxyflow.studies.study_file import StudyFile
from proxyflow.trainers import ImageTrainer

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext
    from proxyflow.studies.scheduler import ExecutionOptions

DEMO = "demo"  # the grid of the image trainer that a sweep takes by default
STUDY_FILES = plain(
    "Study files",
    "study: pets                # default: the file's name",
    "datasets: [digits, fashion-mnist@2000]",
    "strategies: [paper]",
    "grid: paper                # or a list: [{}, {learning_rate: 0.01}]",
    "epochs: 20",
    "seeds: [0, 1]",
    "budget: {max_hours: 8, max_cost_usd: 20, price_per_hour: 2.5}",
    "Every other option may be a key as well. Paths are relative to the file.",
)


@command(
    "sweep",
    "Plans a study (data sets x strategies x configurations x seeds) and runs the trainings that are not finished: "
    "scores and subsets first, then the target and its cheap proxies, then the expensive proxies. After any "
    "interruption, the same command resumes; several processes with the same command share the work.",
    "--study mine --datasets digits --strategies full,easiest:0.25,random:0.25 --grid demo --epochs 2",
    STUDY_FILES,
    DATA_SETS,
    STRATEGIES,
    REDUCTIONS,
    EXECUTORS,
    TRAINERS,
)
@text_option(
    "datasets",
    "digits",
    "Data sets, such as digits,folder:my/pets; NAME@N is a fixed part with N training "
    "examples; see Data sets below. Put a name with a comma in its path in double quotes.",
    Topic.DATA,
    common=True,
)
@data_options
@text_option(
    "strategies",
    "demo",
    "Strategies, separated by commas, such as full,random:0.1, or a named list "
    f"({', '.join(strategy_lists)}); see Strategies below.",
    Topic.PROXIES,
    common=True,
)
@text_option(
    "grid",
    DEMO,
    f"Configurations ({', '.join(ImageTrainer.grids)}, a YAML file, or SPACE.yaml@36); the file has a list of the "
    "hyperparameters that differ from the default; 36 configurations are drawn evenly from the space in SPACE.yaml.",
    Topic.SEARCH,
    common=True,
)
@word_option(
    "scores",
    AUTO,
    "For strategies that need scores: id of a score run; latest, the newest score run of a data set that has what the "
    "strategies need; or auto, scores by a model of the study's trainer (made if there are none), which is latest for "
    "trainers that give no access to their models.",
    Topic.PROXIES,
)
@trainer_options
@hyperparameter_options(*COMMON)
@EPOCHS
@text_option("seeds", "0", "Seeds, separated by commas; all trainings use each.", Topic.TRAINING, common=True)
@execution_options
@dry_run_option("it lists the finished trainings, too")
@SYSTEM_METRICS
@study_option(", or a study file (.yaml); see Study files below")
def sweep(**options: Any) -> None:
    context, spec, _ = open_request(options, _spec, lambda spec: spec, limits_in_budget=True)
    _run_or_forecast(context, spec, take_execution(options), options["dry_run"])


def _spec(options: dict[str, Any], file: StudyFile | None) -> StudySpec:
    """The study that the options describe; messages name the line of the file that a value came from."""
    with at(file, "datasets"):
        datasets = parse_datasets(options["datasets"])
    with at(file, "seeds"):
        seeds = parse_numbers("seeds", options["seeds"], SEED_RULE)
    with at(file):
        trainer = take_trainer(options, None if file is None else Path(file.path).parent)
    with at(file, "grid"):
        written = None if file is None else file.written.get("grid")
        if written is None and options["grid"] == DEMO and DEMO not in trainer.grids:
            rule = f"trainer={trainer.name} has no grid of its own; give configurations, or a space: grid=space.yaml@16"
            raise InvalidValue("grid", "", rule)
        if written is None:
            grid = load_grid(options["grid"], trainer.space, trainer.grids)
        else:
            grid = grid_of(written, "grid", trainer.space)
    with at(file):
        grid = take_common(options, trainer, grid)
    with at(file, "strategies"):
        strategies = load_strategies(options["strategies"])
        spec = StudySpec(datasets, strategies, grid, trainer, options["epochs"], seeds, options["scores"])
    with at(file, "scores"):
        if len(datasets) > 1 and spec.scores not in (AUTO, LATEST):
            rule = f"a score run is of one data set, and the study has {len(datasets)}; use {AUTO} or {LATEST}"
            raise InvalidValue("scores", spec.scores, rule)
    return spec


def _run_or_forecast(context: StudyContext, spec: StudySpec, how: ExecutionOptions, dry_run: bool) -> None:
    """Runs a study, or prints its plan."""
    from proxyflow.studies.study import run_study  # imports mlflow

    # Refused before any run is made where there is no room for them.
    jobs = how.executor.jobs(how.resources)
    if dry_run:
        print_forecast(context, spec, jobs, "study")
        return
    outcome = run_study(context, spec, how)
    print(
        f"study {context.writer.study}: {outcome.planned} trainings planned, {outcome.found + outcome.made} finished "
        f"({outcome.made} now)" + (f"; {outcome.stopped}" if outcome.stopped else "")
    )
    for line in outcome.leaderboard.lines():
        print(line)
    print(f"report: {next_command('report', context.writer.study)}")
