"""Claims: of several processes that want the same result, one makes it, although MLflow has no locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.tracking import names
from proxyflow.tracking.delivery.background import write_record
from proxyflow.tracking.queries.reader import search
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.runs.heartbeat import OpenRuns
from proxyflow.tracking.runs.owner import StaleRunDetector, this_process
from proxyflow.tracking.runs.run import end_record


class AlreadyClaimed(Exception):
    """Another process has made the result that a run was opened for, or is making it.

    Attributes:
        finished: whether the result exists.
    """

    def __init__(self, run_id: str, finished: bool) -> None:
        super().__init__(f"run {run_id} {'has made' if finished else 'is making'} this result")
        self.finished = finished


def same_result(client: MlflowClient, kind: str, key: str, experiment_id: str) -> Iterator[TrackedRun]:
    """All runs for one result, in whatever state; a training's in its study, other kinds are shared by all studies."""
    return search(client, [experiment_id] if kind == "training" else None, KIND=kind, RUN_KEY=key)


class Claims:
    """Claims of one process.

    Args:
        client: a connected client.
        open_runs: the runs that this process writes.
        detector: tells which claims of other processes are void.
    """

    def __init__(self, client: MlflowClient, open_runs: OpenRuns, detector: StaleRunDetector) -> None:
        self._client = client
        self._open_runs = open_runs
        self._detector = detector

    def valid(self, kind: names.Kind, key: str, experiment_id: str) -> Iterator[TrackedRun]:
        """The runs that claim a result: finished ones, and running ones whose process is alive."""
        for run in same_result(self._client, kind, key, experiment_id):
            if run.finished or (run.status == "running" and not self._detector.is_stale(run.id, run.tags)):
                yield run

    def claim(self, run_id: str, kind: names.Kind, key: str, experiment_id: str) -> None:
        """Claims a result for a run that is tagged with its key, or withdraws the run.

        Each process creates its run before it looks for others. So of two that come at the same time at least one
        sees the other, and a process that sees another withdraws, whoever was first: this needs no clock and no lock.

        Raises:
            AlreadyClaimed: another process has the claim; the run is deleted.
        """
        for other in self.valid(kind, key, experiment_id):
            if other.id == run_id:
                continue
            mine = other.tags.get(names.OWNER) == this_process()
            if other.status == "running" and mine and other.id not in self._open_runs:
                self._withdraw(other.id)  # created by a call that was retried because its answer was lost
            else:
                self._withdraw(run_id)
                raise AlreadyClaimed(other.id, other.finished)

    def _withdraw(self, run_id: str) -> None:
        self._open_runs.discard(run_id)
        write_record(self._client, run_id, end_record("interrupted", AlreadyClaimed(run_id, finished=False)))
        with suppress(MlflowException):  # a user who may not delete leaves a run that was killed
            self._client.delete_run(run_id)
