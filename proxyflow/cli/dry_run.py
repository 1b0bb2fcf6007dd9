"""`--dry-run`: prints what a command would train, and runs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxyflow.cli.options import F, Topic, switch

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext
    from proxyflow.studies.plan import StudySpec


def dry_run_option(more: str) -> Callable[[F], F]:
    """The option `--dry-run`; `more` ends its help."""
    return switch("dry_run", f"print the plan and its cost, run nothing; {more}", Topic.EXECUTION, common=True)


def print_forecast(context: StudyContext, spec: StudySpec, jobs: int, what: str) -> None:
    """Prints the plan of a study, and ends the run that `mlflow run` has made for this command.

    Args:
        what: is planned, to end the sentence that describes the run.
    """
    from proxyflow.studies.forecast import forecast, forecast_lines  # imports torch

    for line in forecast_lines(forecast(context, spec, jobs), context.price_per_hour):
        print(line)
    end_dry_run(what)


def end_dry_run(what: str) -> None:
    """Ends the run that `mlflow run` has made for this command, see `print_forecast`."""
    from proxyflow.tracking.runs.launch import end_assigned_run  # imports mlflow

    end_assigned_run(f"A dry run: it printed the plan of a {what} and ran nothing.")
