"""`main`: a whole small study, from scoring to report, and a search."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from proxyflow.cli.command import command
from proxyflow.cli.listings import DATA_SETS
from proxyflow.cli.opening import open_beside, open_context, retry_timeout
from proxyflow.cli.options import NONE, Topic, text_option
from proxyflow.cli.report import OUT, show_report
from proxyflow.cli.search import show_found, train_command
from proxyflow.cli.shared import DATASET, data_options, take_data_options
from proxyflow.cli.training import with_common
from proxyflow.core.errors import TrainingFailed
from proxyflow.data.catalog import parse_request
from proxyflow.spaces.grids import load_grid
from proxyflow.studies.executors import executors
from proxyflow.studies.ladders import default_ladder
from proxyflow.studies.plan import StudySpec
from proxyflow.studies.presets import load_strategies, presets

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext
    from proxyflow.studies.search_trials import SearchSpec

SEED = 0
SEARCH_SEED = 1  # not the study's, whose trainings judge what the search has found


@command(
    "main",
    "Runs a whole small study: scores the examples, makes the proxies, trains every configuration on the target and on "
    "each proxy, and reports how well each proxy predicts the target. Proxies that the data do not support (such as "
    "half of two classes) are skipped and named. Then it searches for the best of the same configurations (study "
    "NAME-search), and prints what it found, saved and lost, judged by the study.",
    "--dataset digits --preset demo",
    DATA_SETS,
)
@DATASET
@data_options
@text_option(
    "preset",
    "demo",
    f"Size of the study ({', '.join(presets)}). "
    + "; ".join(f"{name}: {preset.description}" for name, preset in presets.items())
    + ".",
    Topic.SEARCH,
    common=True,
)
@text_option("study", "demo", "Name of the study, which is an MLflow experiment.", Topic.TRACKING, common=True)
@OUT
def main(dataset: str, preset: str, study: str, out: str, **options: Any) -> None:
    chosen, asked = presets[preset], {**options, "dataset": dataset}
    request = parse_request(dataset)
    context = open_context(study, take_data_options(options, chosen.trainer.image_size), retry_timeout=retry_timeout())
    from proxyflow.reporting.run import ReportOptions, check_out, make_report
    from proxyflow.studies.scheduler import ExecutionOptions  # imports mlflow, as the next ones
    from proxyflow.studies.search_trials import SearchSpec
    from proxyflow.studies.study import run_study
    from proxyflow.studies.support import only_supported

    beside = open_beside(context, f"{context.writer.study}-search")
    check_out(out, context.writer.study)
    if request.part is None and len(context.dataset(request.name).train) > chosen.max_examples:
        request = dataclasses.replace(request, part=chosen.max_examples)
        context.say(f"preset {preset} uses a part of the data set: dataset={request.name}")
    grid = with_common(load_grid(chosen.grid, chosen.trainer.space, chosen.trainer.grids), dict(chosen.base))
    spec = StudySpec(
        datasets=(request.name,),
        strategies=load_strategies(chosen.strategies),
        grid=grid,
        trainer=chosen.trainer,
        epochs=chosen.epochs,
        seeds=(SEED,),
    )
    spec = only_supported(context, spec)
    ladder = default_ladder(chosen.trainer, grid[0].space, chosen.epochs)
    wanted = SearchSpec(
        dataset=request.name,
        trainer=chosen.trainer,
        space=grid[0].space,
        candidates=grid,
        ladder=only_supported(context, dataclasses.replace(spec, strategies=ladder)).strategies,
        epochs=chosen.epochs,
        budget=chosen.budget,
        seed=SEARCH_SEED,
        memory=NONE,
    )
    failure = None
    try:
        run_study(context, spec, ExecutionOptions(executors["local"]))
    except TrainingFailed as error:
        failure = error  # the other trainings are reported
    show_report(make_report(context.client, context.writer, ReportOptions(out=out)))
    if failure is not None:
        raise failure
    _search(beside, wanted, context, asked)


def _search(context: StudyContext, spec: SearchSpec, judge: StudyContext, asked: dict[str, Any]) -> None:
    """Searches, and prints what came of it.

    Args:
        judge: the context of the study that has trained all candidates in full.
        asked: the options of the command.
    """
    from proxyflow.reporting.search_page import write_outcome  # imports mlflow, as the next ones
    from proxyflow.studies.scheduler import ExecutionOptions
    from proxyflow.studies.search import run_search
    from proxyflow.studies.search_files import saving_lines
    from proxyflow.studies.search_trials import values_in_full

    study = context.writer.study
    command = partial(train_command, study=study, asked=asked, image_size=spec.trainer.settings["image_size"])
    found = run_search(context, spec, ExecutionOptions(executors["local"]), write_outcome(study, command))
    judged = values_in_full(judge, dataclasses.replace(spec, seed=SEED))
    print()
    show_found(context, found, saving_lines(found, judged, judge.writer.study), command)
