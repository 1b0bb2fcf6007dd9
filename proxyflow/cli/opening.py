"""Connecting a command to its study on the tracking server."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from proxyflow.cli.launched import check_logged

if TYPE_CHECKING:
    from proxyflow.data.catalog import DataOptions
    from proxyflow.studies.context import StudyContext
    from proxyflow.tracking.runs.writer import RunWriter


def retry_timeout(max_hours: float | None = None) -> float:
    """Seconds for which a study waits for a server that goes away: as long as it may take in all."""
    return math.inf if max_hours is None else max_hours * 3600


def open_context(
    study: str,
    data: DataOptions,
    price_per_hour: float | None = None,
    retry_timeout: float | None = None,
    system_metrics: bool | None = None,
) -> StudyContext:
    """Connects to the tracking server; imports mlflow.

    Args:
        retry_timeout: seconds for which a server is waited for that goes away later, a minute at least.
        system_metrics: whether they are logged; None is what MLflow's variable says.
    """
    from proxyflow.studies.context import StudyContext  # imports mlflow

    writer = open_writer(study, retry_timeout, system_metrics)
    # What an earlier command could not deliver may be just what this one is about to make once more.
    writer.recovery.deliver()
    return StudyContext(writer.client, writer, price_per_hour=price_per_hour, data=data)


def open_beside(context: StudyContext, study: str) -> StudyContext:
    """Another study of the same command, with the same client and data; one that cannot be used is refused here."""
    from proxyflow.tracking.connection import check_study  # imports mlflow, as the next one
    from proxyflow.tracking.runs.writer import RunWriter

    check_study(context.client, study)
    writer = RunWriter(context.client, study, context.writer.system_metrics, context.writer.assigned)
    return dataclasses.replace(context, writer=writer)


def open_writer(study: str, retry_timeout: float | None = None, system_metrics: bool | None = False) -> RunWriter:
    """Connects to the tracking server, see `open_context`; a study that cannot be worked on is refused here."""
    from proxyflow.tracking.connection import RETRY_TIMEOUT_SECONDS, connect  # imports mlflow, as the next ones
    from proxyflow.tracking.runs.launch import resolve_study
    from proxyflow.tracking.runs.system_metrics import system_metrics_options
    from proxyflow.tracking.runs.writer import RunWriter

    options = system_metrics_options(system_metrics)
    # However soon a study is to end, what it has done by then must reach the server.
    client = connect(max(RETRY_TIMEOUT_SECONDS, retry_timeout or 0.0))
    writer = RunWriter(client, resolve_study(client, study), options)
    check_logged(writer)
    return writer
