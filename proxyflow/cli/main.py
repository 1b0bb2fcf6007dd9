"""`main`: a whole small study, from scoring to report."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from proxyflow.cli.command import command
from proxyflow.cli.listings import data_sets
from proxyflow.cli.opening import open_context, retry_timeout
from proxyflow.cli.report import show_report
from proxyflow.cli.shared import DATASET, data_options, take_data_options
from proxyflow.cli.training import with_common
from proxyflow.core.errors import TrainingFailed
from proxyflow.data.catalog import parse_request
from proxyflow.spaces.grids import load_grid
from proxyflow.studies.executors import executors
from proxyflow.studies.plan import StudySpec
from proxyflow.studies.presets import load_strategies, presets


@command(
    "main",
    "Runs a whole small study, from scoring to report: scores the examples, makes the proxies, trains every "
    "configuration on the target and on each proxy, and reports how well each proxy predicts the target. Proxies that "
    "the data do not support (such as half of two classes) are skipped and named.",
    "--dataset digits --preset demo",
    data_sets,
)
@DATASET
@data_options
@click.option(
    "--preset",
    default="demo",
    show_default=True,
    help="Size of the study: " + "; ".join(f"{name}: {preset.description}" for name, preset in presets.items()) + ".",
)
@click.option("--study", default="demo", show_default=True, help="Name of the study, which is an MLflow experiment.")
@click.option(
    "--out", default="report", show_default=True, help="Folder for the page, figures and tables; a folder per study."
)
def main(dataset: str, preset: str, study: str, out: str, **options: Any) -> None:
    chosen = presets[preset]
    request = parse_request(dataset)
    context = open_context(study, take_data_options(options, chosen.trainer.image_size), retry_timeout=retry_timeout())
    from proxyflow.reporting.run import ReportOptions, check_out, make_report
    from proxyflow.studies.scheduler import ExecutionOptions  # imports mlflow, as the next ones
    from proxyflow.studies.study import run_study
    from proxyflow.studies.support import only_supported

    check_out(out, context.writer.study)
    if request.part is None and len(context.dataset(request.name).train) > chosen.max_examples:
        request = dataclasses.replace(request, part=chosen.max_examples)
        context.say(f"preset {preset} uses a part of the data set: dataset={request.name}")
    spec = StudySpec(
        datasets=(request.name,),
        strategies=load_strategies(chosen.strategies),
        grid=with_common(load_grid(chosen.grid, chosen.trainer.space, chosen.trainer.grids), dict(chosen.base)),
        trainer=chosen.trainer,
        epochs=chosen.epochs,
        seeds=(0,),
    )
    spec = only_supported(context, spec)
    failure = None
    try:
        run_study(context, spec, ExecutionOptions(executors["local"]))
    except TrainingFailed as error:
        failure = error  # the other trainings are reported
    show_report(make_report(context.client, context.writer, ReportOptions(out=out)))
    if failure is not None:
        raise failure
