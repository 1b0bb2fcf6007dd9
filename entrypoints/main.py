"""`main`: a whole small study, from scoring to report."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from entrypoints import _cli
from proxyflow.data.catalog import parse_request
from proxyflow.errors import TrainingFailed
from proxyflow.studies.executors import executors
from proxyflow.studies.plan import StudySpec, common_configuration
from proxyflow.studies.presets import load_strategies, presets
from proxyflow.training.engine import DEFAULT_ENGINE
from proxyflow.training.grids import load_grid


@_cli.command(
    "main",
    "Runs a whole small study, from scoring to report: scores the examples, makes the proxies, trains every "
    "configuration on the target and on each proxy, and reports how well each proxy predicted the target.",
    "--dataset digits --preset demo",
    _cli.DATASETS,
)
@_cli.DATASET
@_cli.data_options
@click.option(
    "--preset",
    default="demo",
    show_default=True,
    help="Size of the study: " + "; ".join(f"{name}: {preset.description}" for name, preset in presets.items()) + ".",
)
@click.option("--study", default="demo", show_default=True, help="The study, an MLflow experiment of that name.")
@click.option(
    "--out", default="report", show_default=True, help="Folder for the page, figures and tables; a folder per study."
)
def main(dataset: str, preset: str, study: str, out: str, **options: Any) -> None:
    chosen = presets[preset]
    configurations = load_grid(chosen.grid)
    request = parse_request(dataset)
    lab = _cli.open_lab(study, _cli.take_data_options(options), patience=_cli.patience())
    from proxyflow.report.run import ReportOptions, check_out, make_report
    from proxyflow.studies.study import How, run_study

    check_out(out, lab.writer.study)
    if request.part is None and len(lab.dataset(request.name).train) > chosen.max_examples:
        request = dataclasses.replace(request, part=chosen.max_examples)
        lab.say(f"preset {preset} uses a part of it: dataset={request.name}")
    spec = StudySpec(
        datasets=(request.name,),
        strategies=load_strategies(chosen.strategies),
        grid=configurations,
        settings=chosen.settings,
        seeds=(0,),
        engine=DEFAULT_ENGINE,
        scoring_configuration=common_configuration(configurations),
        scoring=chosen.settings,
    )
    failure = None
    try:
        run_study(lab, spec, How(executors["local"]))
    except TrainingFailed as error:
        failure = error  # the other trainings are reported all the same
    _cli.show_report(make_report(lab.client, lab.writer, ReportOptions(out=out)))
    if failure is not None:
        raise failure


if __name__ == "__main__":
    _cli.run(main)
