"""Options that say where trainings run, and when to stop: of every command that runs many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxyflow.cli.options import AUTO, NONE, F, Topic, ruled_option, word_option
from proxyflow.cli.shared import PRICE
from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, OptionalValue
from proxyflow.studies.executors import Resources, executors

if TYPE_CHECKING:
    from proxyflow.studies.scheduler import ExecutionOptions

# As `proxyflow.studies.scheduler.RETRIES`, whose import takes seconds.
RETRIES = 2
LIMIT = OptionalValue(Number(low=0, above=True, example="8"), NONE)
_OPTIONS = (
    ruled_option("executor", "local", Choice(executors), "where trainings run; see Executors below", Topic.EXECUTION),
    ruled_option(
        "jobs",
        AUTO,
        OptionalValue(Number(low=1, whole=True, example="4"), AUTO),
        "concurrent trainings; auto is as many as fit on the free GPUs, or one without a GPU",
        Topic.EXECUTION,
        common=True,
    ),
    ruled_option(
        "gpus_per_job",
        1,
        Number(low=0, high=64, above=True, example="0.5"),
        "GPUs per training with executor=ray; below 1, trainings share a GPU",
        Topic.EXECUTION,
    ),
    word_option(
        "address",
        NONE,
        "Ray cluster: auto is the cluster of this machine, ray://HOST:10001 another one, none starts Ray on this "
        "machine.",
        Topic.EXECUTION,
    ),
    ruled_option(
        "retries",
        RETRIES,
        Number(low=0, high=100, whole=True, example="2"),
        "retries of a training after a possibly transient error (network, lost worker); other errors are not retried",
        Topic.EXECUTION,
    ),
    PRICE,
    ruled_option("max_hours", NONE, LIMIT, "stop between two runs after this many hours", Topic.EXECUTION),
    ruled_option(
        "max_cost_usd",
        NONE,
        LIMIT,
        "stop between two runs after this cost in US dollars (needs price_per_hour)",
        Topic.EXECUTION,
    ),
)


def execution_options(function: F) -> F:
    """The options for the executor, its resources, and limits."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_execution(options: dict[str, Any]) -> None:
    """Checks what can be checked without a server.

    Raises:
        InvalidValue: a limit in US dollars without a price, or resources that the executor cannot use.
    """
    if options["max_cost_usd"] is not None and options["price_per_hour"] is None:
        raise InvalidValue("max_cost_usd", f"{options['max_cost_usd']:g}", "give price_per_hour with it, in US dollars")
    executors[options["executor"]].check(_resources(options))


def take_execution(options: dict[str, Any]) -> ExecutionOptions:
    """How to execute, from the values of `execution_options`; imports mlflow."""
    from proxyflow.studies.scheduler import ExecutionOptions, Limits  # imports mlflow

    limits = Limits(options["max_hours"], options["max_cost_usd"])
    return ExecutionOptions(executors[options["executor"]], _resources(options), limits, options["retries"])


def _resources(options: dict[str, Any]) -> Resources:
    address = None if options["address"] == NONE else options["address"]
    return Resources(options["jobs"], options["gpus_per_job"], address)
