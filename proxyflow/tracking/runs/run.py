"""Writing one MLflow run in the background, so that it says the truth however the work ends.

`mlflow run` creates a run before this code starts, logs the declared parameters, and derives the run's status from the
exit code afterwards. So parameters that exist are not logged again, and a tag has the true status.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import ProxyflowError, StoreFailed, Terminated, UserError, one_line
from proxyflow.core.signals import deferred_signals
from proxyflow.tracking import names
from proxyflow.tracking.artifacts.store import MODEL_ID_PREFIX
from proxyflow.tracking.artifacts.transfer import upload
from proxyflow.tracking.connection import server_address
from proxyflow.tracking.delivery.background import BackgroundLogger, write_record
from proxyflow.tracking.delivery.retrying import on_outage, print_notice, retry_timeout_of, without_retries
from proxyflow.tracking.delivery.write_ahead_log import Record, WriteAheadLog, kept_artifacts, log_folder
from proxyflow.tracking.runs.owner import this_process

REDELIVERY_SECONDS = 60.0  # between two attempts at a store that refuses: each costs the client's retries
FINAL_FLUSH_SECONDS = 5.0  # for the last records of a run that did not finish
MLFLOW_STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}  # every other status is FAILED
# Tags that no program reads, so they are shortened without further tags for the full value.
DISPLAY_TAGS = (names.RUN_NAME, names.DESCRIPTION, names.ERROR)
# The columns of every data set in MLflow's UI; a subset's files have more.
DATA_COLUMNS = [
    {"name": name, "type": kind, "required": True} for name, kind in (("image", "binary"), ("label", "long"))
]


class NotDelivered(ProxyflowError):
    """The work is done and kept on this machine, but the server was unavailable for too long to log it."""


class Run:
    """One MLflow run that is being written."""

    def __init__(self, client: MlflowClient, run_id: str, study: str) -> None:
        self.client = client
        self.id = run_id
        self.study = study
        direct = without_retries(client)  # the background logger has retries of its own
        self._log_path = log_folder(server_address()) / f"{run_id}.jsonl"
        self._logger = BackgroundLogger(
            lambda record: write_record(direct, run_id, record),
            WriteAheadLog(self._log_path, this_process()),
            on_outage=on_outage(client),
        )
        self._upload_error: StoreFailed | None = None  # why artifacts of this run are still on this machine
        self._upload_failed_at = 0.0

    def log_metrics(
        self, metrics: Mapping[str, float | None], step: int = 0, tags: Mapping[str, str] | None = None
    ) -> None:
        """Logs metrics in the background, and tags with them; metrics without a finite value are left out.

        The run does not end before everything that was logged has arrived.

        Raises:
            Exception: something logged earlier was refused.
        """
        now = int(time.time() * 1000)
        entries = tuple(
            (names.metric_key(key), float(value), now, step)
            for key, value in metrics.items()
            if value is not None and math.isfinite(value)
        )
        self._logger.put(Record(metrics=entries, tags=format_tags(tags or {})))

    @cached_property
    def _existing_params(self) -> Mapping[str, str]:
        """Params that the run had when this process adopted it."""
        return dict(self.client.get_run(self.id).data.params)

    def log_params(self, params: Mapping[str, Any], read_again: bool = False) -> None:
        """Logs the params that `mlflow run` has not logged as they were typed; tags have long values in full.

        Args:
            read_again: whether others may have logged params to this run since it was opened; theirs stay.
        """
        if read_again:
            self._existing_params = dict(self.client.get_run(self.id).data.params)
        existing = self._existing_params
        values = {key: str(value) for key, value in params.items() if value is not None and key not in existing}
        tags: dict[str, str] = {}
        for value in values.values():
            tags |= names.full_value_tags(value, names.PARAM_LENGTH)
        shortened = {key: names.shorten(value, names.PARAM_LENGTH) for key, value in values.items()}
        self._logger.put(Record(params=shortened, tags=tags))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Sets tags now, in one call."""
        self.client.log_batch(self.id, tags=[RunTag(*each) for each in format_tags(tags).items()])

    def log_folder(self, folder: Path, artifact_path: str) -> None:
        """Uploads all files of a folder, see `_upload`."""
        self._upload(self.id, folder, artifact_path)

    def log_model(self, model_id: str, folder: Path) -> None:
        """Uploads the files of a logged model, see `_upload`; the model is ready once its store has them."""
        if self._upload(model_id, folder):
            self.client.finalize_logged_model(model_id, "READY")

    def _upload(self, owner: str, folder: Path, artifact_path: str = "") -> bool:
        """Uploads all files of a folder; returns whether the store took them.

        Files that the artifact store refuses are kept on this machine, and the work goes on: it may have taken hours.
        The run then ends as `NotDelivered`, and the next command delivers it.

        Raises:
            StoreFailed: the store refuses, and the files cannot be kept here.
        """
        try:
            upload(self.client, owner, folder, artifact_path)
        except StoreFailed as error:
            try:
                kept = kept_artifacts(self._log_path) / (artifact_path or owner)
                shutil.copytree(folder, kept, dirs_exist_ok=True)
            except OSError as problem:
                raise StoreFailed(
                    f"{one_line(error)}; nor can it be kept on this machine: {one_line(problem)}"
                ) from error
            if self._upload_error is None:
                print_notice(f"{one_line(error)}; it is kept on this machine")
            self._upload_error, self._upload_failed_at = error, time.monotonic()
            return False
        return True

    def log_data(
        self,
        name: str,
        fingerprint: str,
        context: str,
        rows: int,
        classes: int,
        artifact: tuple[str, str] | None = None,
    ) -> None:
        """Logs a data set or subset as an input of the run, so that the MLflow UI shows and finds it.

        Args:
            artifact: run and path of the artifact that holds it, from where MLflow's own call loads it.
        """
        source = {"tags": {"proxyflow": name}} if artifact is None else {"uri": f"runs:/{'/'.join(artifact)}"}
        dataset = {
            "name": names.shorten(name, names.INPUT_LENGTH),
            "digest": fingerprint[:32],
            "source_type": "code" if artifact is None else "local",
            "source": json.dumps(source),
            "schema": json.dumps({"mlflow_colspec": DATA_COLUMNS}),
            "profile": json.dumps({"num_rows": rows, "num_classes": classes}),
            "context": context,
        }
        self._logger.put(Record(inputs=(dataset,)))

    def finish(self, status: names.Status, error: BaseException | None = None) -> None:
        """Ends the run, and waits until the server has everything.

        A success that the server refuses is a failure, whose error is raised. Where the work itself has failed, its
        own error matters more, and a refusal is only printed.

        Raises:
            NotDelivered: the server or the artifact store failed for longer than the client retries.
        """
        try:
            if self._upload_error is not None and status != "finished":
                self._logger.keep_log(None)
            elif self._upload_error is not None and not self._upload_kept():
                # A finished run has all its artifacts; the log keeps its end for the delivery.
                self._logger.keep_log(end_record(status, error))
                self._logger.flush(FINAL_FLUSH_SECONDS)
                raise NotDelivered(
                    f"the work of run {self.id} is done, and kept on this machine: {one_line(self._upload_error)}. The "
                    "next command of this study delivers it once the artifact store accepts it"
                )
            # Once the log has the end, no crash can lose it.
            with deferred_signals():
                self._logger.put(end_record(status, error))
            if status == "finished":
                self._deliver()
            # After an interruption the process is about to end, so a second signal is dropped.
            with deferred_signals(deliver=status != "interrupted"):
                if status != "finished" and not self._logger.flush(FINAL_FLUSH_SECONDS):
                    print_notice(f"run {self.id} will be marked {status} by the next command")
        except Exception as problem:
            if status == "finished":
                if not isinstance(problem, NotDelivered):
                    self._end_directly(problem)
                raise
            self._end_directly(error or problem, status)
            print_notice(f"run {self.id} could not be logged completely: {one_line(problem)}")
        finally:
            self._logger.close()

    def _end_directly(self, error: BaseException, status: names.Status = "failed") -> None:
        """Ends the run without the background logger, which sends nothing after a refused record."""
        try:
            write_record(without_retries(self.client), self.id, end_record(status, error))
        except Exception as problem:
            print_notice(f"run {self.id} could not be marked {status}: {one_line(problem)}")

    def _upload_kept(self) -> bool:
        if time.monotonic() - self._upload_failed_at < REDELIVERY_SECONDS:
            return False
        try:
            upload_kept_artifacts(self.client, self.id, self._log_path)
        except (StoreFailed, UserError) as error:
            self._upload_error = StoreFailed(one_line(error))
            return False
        return True

    def _deliver(self) -> None:
        timeout = max(retry_timeout_of(self.client), FINAL_FLUSH_SECONDS)
        try:
            delivered = self._logger.flush(timeout)
        except (KeyboardInterrupt, Terminated):
            self._logger.flush(FINAL_FLUSH_SECONDS)
            raise
        if not delivered:
            raise NotDelivered(
                f"the tracking server has not responded for {timeout:.0f} s. The work of run {self.id} is done and "
                "kept on this machine; the next command of this study delivers it once the server responds"
            )


def upload_kept_artifacts(client: MlflowClient, run_id: str, log: Path, retry_timeout: float | None = None) -> None:
    """Uploads the artifacts that are kept beside a run's log, its own and its logged models', and deletes them.

    Args:
        retry_timeout: see `upload`.

    Raises:
        StoreFailed: the store still refuses.
    """
    kept = kept_artifacts(log)
    for folder in sorted(kept.iterdir()) if kept.is_dir() else ():
        if folder.name.startswith(MODEL_ID_PREFIX):
            try:
                upload(client, folder.name, folder, retry_timeout=retry_timeout)
                client.finalize_logged_model(folder.name, "READY")
            except MlflowException as error:
                # A model that was deleted meanwhile must not block the results of its run.
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                print_notice(f"the files of {folder.name} are dropped: {one_line(error)}")
        else:
            upload(client, run_id, folder, "" if folder.name == run_id else folder.name, retry_timeout)
    shutil.rmtree(kept, ignore_errors=True)


def format_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags as every store accepts them, without those that are None; further tags hold values that are too long."""
    tags: dict[str, str] = {}
    for key, value in values.items():
        if value is not None:
            longest = names.RUN_NAME_LENGTH if key == names.RUN_NAME else names.TAG_LENGTH
            tags[key] = names.shorten(str(value), longest)
            if key not in DISPLAY_TAGS:
                tags |= names.full_value_tags(str(value), longest)
    return tags


def end_record(status: names.Status, error: BaseException | None) -> Record:
    """The record that ends a run now."""
    reason = None if error is None else error_text(error)
    end = (MLFLOW_STATUS.get(status, "FAILED"), int(time.time() * 1000))
    return Record(tags=format_tags({names.STATUS: status, names.ERROR: reason}), end=end)


def error_text(error: BaseException) -> str:
    """The tag `proxyflow.error`."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C; rerun the command to resume"
    if isinstance(error, Terminated):
        return "stopped by SIGTERM; rerun the command to resume"
    # The type of an error of ours says nothing that its message does not.
    kind = "" if isinstance(error, ProxyflowError) else f"{type(error).__name__}: "
    return names.shorten(f"{kind}{one_line(error)}", names.TAG_LENGTH)
