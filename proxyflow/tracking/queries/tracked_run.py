"""A tracked run as one value, whether it comes from MLflow's client or from the server's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run as MlflowRun

from proxyflow.tracking import names


@dataclass(frozen=True)
class TrackedRun:
    """A run on the tracking server.

    Attributes:
        status: see `status_of`.
        start_time, end_time: ms since 1970; a running one has no end.
    """

    id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    start_time: int
    end_time: int | None

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    @property
    def kind(self) -> str:
        return self.tags.get(names.KIND, "")


def status_of(tags: Mapping[str, str], mlflow_status: str) -> str:
    """A run's status: the tag's, as `mlflow run` overwrites MLflow's own; without a tag, MLflow's."""
    known = {"FINISHED": "finished", "RUNNING": "running", "SCHEDULED": "running", "KILLED": "interrupted"}
    return tags.get(names.STATUS) or known.get(mlflow_status, "failed")


def from_client(run: MlflowRun) -> TrackedRun:
    """A run from MLflow's client."""
    tags = dict(run.data.tags)
    return TrackedRun(
        id=run.info.run_id,
        name=run.info.run_name or "",
        status=status_of(tags, run.info.status),
        tags=tags,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        start_time=run.info.start_time or 0,
        end_time=run.info.end_time,
    )


def from_json(run: Mapping[str, Any]) -> TrackedRun:
    """A run from the REST API, which leaves out empty fields."""
    info, data = run["info"], run.get("data", {})
    tags = {each["key"]: each.get("value", "") for each in data.get("tags", ())}
    return TrackedRun(
        id=info["run_id"],
        name=info.get("run_name", ""),
        status=status_of(tags, info.get("status", "")),
        tags=tags,
        params={each["key"]: each.get("value", "") for each in data.get("params", ())},
        # NaN and infinity come as strings, which float understands.
        metrics={each["key"]: float(each.get("value", 0.0)) for each in data.get("metrics", ())},
        start_time=int(info.get("start_time", 0)),
        end_time=int(info.get("end_time", 0)) or None,
    )
