"""`report`: proxy quality of a study, as a page, figures and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxyflow.cli.command import command
from proxyflow.cli.opening import open_writer
from proxyflow.cli.options import AUTO, NONE, Topic, ruled_option, text_option, word_option
from proxyflow.cli.shared import STUDY
from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, OptionalValue
from proxyflow.data.catalog import absolute
from proxyflow.quality.pairs import COSTS

if TYPE_CHECKING:
    from proxyflow.reporting.run import MadeReport


OUT = text_option(
    "out", "report", "Folder for the page, figures and tables; a folder per study.", Topic.REPORT, common=True
)


@command(
    "report",
    "Queries the tracking server for a study's trainings and computes how well each proxy predicts the target: r2 "
    "and Spearman with bootstrap intervals, relative cost, cost-adjusted r2, regret and cost of a search with each "
    "proxy, and a verdict. Writes a page, figures and tables. Can run while a sweep is in progress; missing runs are "
    "listed.",
    "--study demo",
)
@OUT
@ruled_option(
    "cost_basis",
    AUTO,
    Choice((AUTO, *COSTS)),
    "unit of relative cost; auto is train_seconds if all trainings ran alone on one kind of device, else "
    "train_flops, else examples_seen, and the report gives the reason",
    Topic.REPORT,
)
@ruled_option(
    "cost_curve",
    "fitted",
    Choice(("fitted", "published")),
    "reference curve of cost-adjusted r2: fitted to this study, or that of the published table",
    Topic.REPORT,
)
@ruled_option(
    "good_fraction",
    0.5,
    Number(low=0, high=1, above=True, example="0.5"),
    "Spearman is computed over this share of the configurations, those that are best on the proxy",
    Topic.REPORT,
)
@ruled_option(
    "min_accuracy",
    NONE,
    OptionalValue(Number(example="0.6"), NONE),
    "instead of good_fraction: Spearman is computed over configurations whose value on the proxy is at least this (at "
    "most, for a metric that is minimized), in the unit of the metric",
    Topic.REPORT,
)
@ruled_option(
    "tolerance",
    0.5,
    Number(low=0, high=100, example="0.5"),
    "points of regret that the verdict accepts; it recommends the cheapest search whose whole 95 % interval is at "
    "most this (for metrics that are not shares: per cent of the metric's spread over configurations); if full search "
    "itself exceeds that, its regret is subtracted",
    Topic.REPORT,
    common=True,
)
@ruled_option(
    "bootstrap",
    1000,
    Number(low=0, high=100000, whole=True, example="1000"),
    "bootstrap samples for the intervals; 0 disables them",
    Topic.REPORT,
    common=True,
)
@word_option(
    "compare",
    NONE,
    "Other studies, separated by commas, to compare with on the page and in compare.csv.",
    Topic.REPORT,
    common=True,
)
@word_option(
    "runs",
    NONE,
    "The runs.csv of an earlier report to repeat without a tracking server; the curves.csv in the same folder is used "
    "too, and nothing is logged. study then only names the report; auto is the name of the file's folder.",
    Topic.REPORT,
    common=True,
)
@STUDY
def report(study: str, compare: str, runs: str, **options: Any) -> None:
    others = () if compare == NONE else tuple(dict.fromkeys(filter(None, map(str.strip, compare.split(",")))))
    from proxyflow.reporting.run import ReportOptions, make_report, remake_report  # imports mlflow

    if runs != NONE:
        if others:
            raise InvalidValue("compare", compare, "other studies are on the tracking server; leave out runs")
        path = absolute("runs", runs)
        name = path.parent.name if study == AUTO else study
        show_report(remake_report(path, name, ReportOptions(runs=runs, **options)))
        return
    writer = open_writer(study)
    from proxyflow.tracking.connection import study_experiment_id  # imports mlflow

    for name in others:
        study_experiment_id(writer.client, name, option="compare")
    show_report(make_report(writer.client, writer, ReportOptions(compare=others, **options)))


def show_report(made: MadeReport) -> None:
    """Prints the table of strategies, and where the page is."""
    print(made.table)
    print(f"\npage: {made.page.absolute().as_uri()}")
    if made.run_id:
        print(f"report run {made.run_id} in experiment {made.study}")
    else:
        print(f"not logged: {made.unlogged}")
