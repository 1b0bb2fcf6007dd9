"""What the commands that run many trainings have in common: options from a file, checks, and the study's context."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from proxyflow.cli.execution import check_execution
from proxyflow.cli.files import at, take_from_file
from proxyflow.cli.launched import check_used
from proxyflow.cli.opening import open_context, retry_timeout
from proxyflow.cli.options import AUTO
from proxyflow.cli.shared import take_data_options
from proxyflow.cli.training import check_request
from proxyflow.proxies import data_of
from proxyflow.studies.plan import StudySpec
from proxyflow.studies.study_file import StudyFile, load_study_file
from proxyflow.tracking.names import check_study_name, is_study_file

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext

NOT_IN_FILES = ("dry_run",)
S = TypeVar("S")


def open_request(
    options: dict[str, Any],
    read: Callable[[dict[str, Any], StudyFile | None], S],
    study_of: Callable[[S], StudySpec],
    limits_in_budget: bool = False,
) -> tuple[StudyContext, S, dict[str, Any]]:
    """Reads a request, and opens its study; all that can be refused without a server is refused before.

    Args:
        options: as parsed; those of a study file are put in, and those of the data are taken out.
        read: makes what is asked for; messages name the line of the file that a value came from.
        study_of: the study that it may train.
        limits_in_budget: see `load_study_file`.

    Returns:
        The context, what `read` made, and the options as they are used.
    """
    file, asked = None, dict(options)
    if is_study_file(options["study"]):
        keys = [name for name in options if name not in NOT_IN_FILES]
        file = load_study_file(options["study"], keys, limits_in_budget)
        take_from_file(click.get_current_context(), file, options)
    with at(file, "study"):
        if options["study"] != AUTO:
            check_study_name(options["study"])
    used = {name: value for name, value in options.items() if name != "study"}
    made = read(options, file)
    spec = study_of(made)
    with at(file):
        check_execution(options)
    context = open_context(
        options["study"],
        take_data_options(options, spec.trainer.settings.get("image_size")),
        options["price_per_hour"],
        retry_timeout(options["max_hours"]),
        options["system_metrics"],
    )
    check_used(context.writer, asked, used)
    check_request(spec.trainer, spec.grid, context.say)
    from proxyflow.studies.scores import check_scores  # imports mlflow

    check_scores(context, spec.scores, *data_of(spec.strategies))
    return context, made, used
