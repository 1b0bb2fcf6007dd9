"""`report`: proxy quality of a study, as a page, figures and tables."""

from __future__ import annotations

from typing import Any

import click

from entrypoints import _cli
from proxyflow.data.catalog import absolute
from proxyflow.errors import InvalidValue
from proxyflow.quality.pairs import COSTS
from proxyflow.settings import Choice, Number, OptionalValue


@_cli.command(
    "report",
    "Queries the tracking server for a study's trainings and computes how well each proxy predicts the target: r2 "
    "and Spearman with bootstrap intervals, relative and adjusted cost, regret, and a verdict. Writes a page, figures "
    "and tables. Works at any time, also while a sweep is at the study; what is missing is said.",
    "--study demo",
)
@click.option(
    "--out", default="report", show_default=True, help="Folder for the page, figures and tables; a folder per study."
)
@_cli.ruled_option(
    "cost_basis",
    "train_seconds",
    Choice(COSTS),
    "what relative cost counts",
)
@_cli.ruled_option(
    "cost_curve",
    "fitted",
    Choice(("fitted", "published")),
    "curve that cost-adjusted r2 is the distance to: fitted to this study, or that of the published table",
)
@_cli.ruled_option(
    "good_fraction",
    0.5,
    Number(low=0, high=1, above=True, example="0.5"),
    "Spearman looks at this share of the configurations, the best by proxy accuracy",
)
@_cli.ruled_option(
    "min_accuracy",
    _cli.NONE,
    OptionalValue(Number(low=0, high=1, example="0.6"), _cli.NONE),
    "instead of good_fraction: configurations of at least this proxy accuracy",
)
@_cli.ruled_option(
    "tolerance",
    0.1,
    Number(low=0, high=1, example="0.1"),
    "the verdict recommends the cheapest proxy whose interval of r2 lies no more than this below the target's own",
)
@_cli.ruled_option(
    "bootstrap",
    1000,
    Number(low=0, high=100000, whole=True, example="1000"),
    "bootstrap samples for the intervals; 0 leaves them out",
)
@click.option(
    "--compare",
    default=_cli.NONE,
    show_default=True,
    help="Other studies, separated by commas, whose measures the page and compare.csv set beside this one's.",
)
@click.option(
    "--runs",
    default=_cli.NONE,
    show_default=True,
    help="The runs.csv that an earlier report wrote: makes the report again from it and the curves.csv beside it, with "
    "no tracking server, and logs nothing. study is then its name alone, auto that of the file's folder.",
)
@_cli.STUDY
def report(study: str, compare: str, runs: str, **options: Any) -> None:
    others = () if compare == _cli.NONE else tuple(dict.fromkeys(filter(None, map(str.strip, compare.split(",")))))
    from proxyflow.report.run import ReportOptions, make_report, remake_report

    if runs != _cli.NONE:
        if others:
            raise InvalidValue("compare", compare, "other studies are on the tracking server; leave out runs")
        path = absolute("runs", runs)
        name = path.parent.name if study == _cli.AUTO else study
        _cli.show_report(remake_report(path, name, ReportOptions(runs=runs, **options)))
        return
    from proxyflow.tracking.connection import connect, resolve_study
    from proxyflow.tracking.runs import RunWriter

    client = connect()
    writer = RunWriter(client, resolve_study(client, study))
    _cli.show_report(make_report(client, writer, ReportOptions(compare=others, **options)))


if __name__ == "__main__":
    _cli.run(report)
