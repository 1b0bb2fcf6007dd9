"""Recovery after crashes: undelivered logs are delivered, and runs of dead processes marked as failed.

MLflow leaves the run of a killed process running for ever.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import StoreFailed, UserError, one_line
from proxyflow.tracking import names
from proxyflow.tracking.connection import access_advice, server_address
from proxyflow.tracking.delivery.background import write_record
from proxyflow.tracking.delivery.retrying import is_outage, print_notice, retry_timeout_of, without_retries
from proxyflow.tracking.delivery.write_ahead_log import (
    PendingLog,
    Record,
    delivery_lock,
    kept_artifacts,
    log_folder,
    pending_logs,
)
from proxyflow.tracking.queries.reader import search
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.runs.claims import same_result
from proxyflow.tracking.runs.heartbeat import OpenRuns
from proxyflow.tracking.runs.owner import StaleRunDetector, is_dead, is_on_this_host, this_process
from proxyflow.tracking.runs.run import (
    MLFLOW_STATUS,
    REDELIVERY_SECONDS,
    error_text,
    format_tags,
    upload_kept_artifacts,
)


class Recovery:
    """Recovers runs of one study, and logs of any.

    Args:
        client: a connected client.
        study: whose runs are marked as failed.
        open_runs: the runs that this process writes.
        detector: tells which runs are stale.
    """

    def __init__(self, client: MlflowClient, study: str, open_runs: OpenRuns, detector: StaleRunDetector) -> None:
        self._client = client
        self._study = study
        self._open_runs = open_runs
        self._detector = detector
        self._attempts: dict[Path, float] = {}  # logs that could not be delivered, and when that was tried

    def fail_stale_runs(self, own: bool = False) -> int:
        """Ends the runs of this study whose processes have died, and returns how many there were.

        Undelivered logs are delivered first. Covers runs that are still marked as running (kill -9, power, a lost
        machine), wherever `mlflow run` put them, and those that died between the two calls that end a run.

        Args:
            own: also runs of this process that it does not know: created by a call whose answer was lost.
        """
        self.deliver()
        tagged = search(self._client, STUDY=self._study, STATUS="running")
        running = search(self._client, running=True, STUDY=self._study)
        found = {run.id: run for run in (*tagged, *running)}
        stale = [
            run
            for run in found.values()
            if self._detector.is_stale(run.id, run.tags) or (own and self._is_unknown(run))
        ]
        for run in stale:
            self._mark_failed(run, "its process died before the run ended")
        return len(stale)

    def mark_failed(self, owner: str, reason: str, status: names.Status = "failed") -> None:
        """Ends the runs of a process that is known to have died."""
        for run in search(self._client, OWNER=owner, STATUS="running"):
            self._mark_failed(run, reason, status)

    def end_unknown_runs(self, error: BaseException) -> None:
        """Ends the runs that this process may have created in a call that `error` interrupted."""
        for run in search(without_retries(self._client), OWNER=this_process(), STATUS="running"):
            if self._is_unknown(run):
                self._mark_failed(run, error_text(error), "interrupted")

    def _is_unknown(self, run: TrackedRun) -> bool:
        return run.tags.get(names.OWNER) == this_process() and run.id not in self._open_runs

    def _mark_failed(self, run: TrackedRun, reason: str, status: names.Status = "failed") -> None:
        try:
            tags = {names.STATUS: status, names.ERROR: reason} if run.status == "running" else {}
            end = MLFLOW_STATUS.get(run.status if run.finished else status, "FAILED"), int(time.time() * 1000)
            write_record(self._client, run.id, Record(tags=format_tags(tags), end=end))
        except MlflowException as error:
            if not access_advice(error):  # a run of another user, who will end it
                raise

    def deliver(self) -> None:
        """Delivers the logs that ended processes of this machine have left.

        An undelivered log is kept and reported once: it may belong to another study, whose store is gone for good.
        """
        timeout = min(retry_timeout_of(self._client), REDELIVERY_SECONDS)
        for log in pending_logs(log_folder(server_address())):
            ended = any(record.end for record in log.records)
            ended_here = log.owner == this_process() and log.run_id not in self._open_runs and ended
            if is_on_this_host(log.owner) and not is_dead(log.owner) and not ended_here:
                continue
            attempted = self._attempts.get(log.path, -math.inf)
            if time.monotonic() - attempted < REDELIVERY_SECONDS:
                continue
            first = log.path not in self._attempts
            with delivery_lock(log.path) as locked:
                if locked and (problem := self._deliver(log, timeout if first else 0.0)):
                    # Another log of the same store would fail as well.
                    self._attempts[log.path], timeout = time.monotonic(), 0.0
                    if first:
                        print_notice(problem)

    def _deliver(self, log: PendingLog, timeout: float) -> str:
        """Delivers a log and deletes it; returns why it is kept, nothing where it was delivered.

        Args:
            timeout: seconds for which an artifact store that fails is retried.
        """
        label = f"the undelivered log of run {log.run_id}"
        try:
            run = self._client.get_run(log.run_id)
            label = f"{label} of study {run.data.tags.get(names.STUDY, '')}"
            if log.owner and not is_on_this_host(log.owner) and not self._detector.is_stale(log.run_id, run.data.tags):
                return ""
            if not self._is_superseded(run):
                upload_kept_artifacts(self._client, log.run_id, log.path, timeout)
                for record in log.records:
                    write_record(self._client, log.run_id, record)
        except (StoreFailed, UserError, MlflowException, OSError) as error:
            if isinstance(error, MlflowException | OSError) and is_outage(error):
                raise
            if reason := _reason_to_keep(error):
                return f"{label} is kept in {log.path}: {reason}"
            # The run is gone; nothing will ever take its records.
            print_notice(f"{label} was refused: {one_line(error)}")
        log.path.unlink(missing_ok=True)
        shutil.rmtree(kept_artifacts(log.path), ignore_errors=True)
        return ""

    def _is_superseded(self, run: MlflowRun) -> bool:
        """Whether a run that was marked as failed stays so: its result was made again, or it was deleted."""
        tags = run.data.tags
        if run.info.lifecycle_stage != "active":
            return True
        if run.info.status == "RUNNING" or names.RUN_KEY not in tags:
            return False
        others = same_result(self._client, tags[names.KIND], tags[names.RUN_KEY], run.info.experiment_id)
        return any(other.finished or other.status == "running" for other in others if other.id != run.info.run_id)


def _reason_to_keep(error: Exception) -> str:
    """Why a later attempt may deliver a log; nothing where its run is gone."""
    if not isinstance(error, MlflowException):
        return one_line(error)
    advice = access_advice(error)
    return advice and f"the tracking server has no such run, or you may not write to it: {advice}"
