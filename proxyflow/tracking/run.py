"""Writing one MLflow run so that, however the work ends, the run says the truth about it.

`mlflow run` makes a run before our code starts, logs the declared parameters itself and rewrites the run's
status from the exit code afterwards. So parameters that are there already are not logged again, and what really
happened is kept in a tag.

What is said of a run goes through its outbox: in order, behind the caller's back, and past outages.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.errors import ProxyflowError, StoreFailed, Terminated, UserError, one_line
from proxyflow.tracking import names
from proxyflow.tracking.artifact_store import MODEL
from proxyflow.tracking.connection import server_address
from proxyflow.tracking.journal import Journal, Record, files_of, folder_of
from proxyflow.tracking.outages import impatient, patience_of, teller
from proxyflow.tracking.outbox import Outbox, write
from proxyflow.tracking.owner import this_process
from proxyflow.tracking.transfer import upload

MAX_VALUE = 5000  # MLflow takes 6,000 characters in a param and 8,000 in a tag
DELIVER_AGAIN_SECONDS = 60.0  # after a store has just refused, another try would only cost the client's patience
LAST_WORDS_SECONDS = 5.0  # for what a run that did not finish still has to say
ENDS = {"finished": "FINISHED", "interrupted": "KILLED"}  # MLflow's words; every other end is FAILED
# What each example is, whatever the data set; a subset's files have more columns.
DATA_COLUMNS = [
    {"name": name, "type": kind, "required": True} for name, kind in (("image", "binary"), ("label", "long"))
]


class Taken(Exception):
    """Another process has done what a run was opened for, or is at it.

    Attributes:
        finished: whether it is done.
    """

    def __init__(self, run_id: str, finished: bool) -> None:
        super().__init__(f"run {run_id} has {'done' if finished else 'begun'} this")
        self.finished = finished


class NotDelivered(ProxyflowError):
    """Work is done, and the tracking server has been away for too long to be told."""


class Run:
    """One MLflow run that is being written."""

    def __init__(self, client: MlflowClient, run_id: str, study: str) -> None:
        self.client = client
        self.id = run_id
        self.study = study
        once = impatient(client)
        self._journal = folder_of(server_address()) / f"{run_id}.jsonl"
        journal = Journal(self._journal, this_process())
        self._outbox = Outbox(lambda record: write(once, run_id, record), journal, say=teller(client))
        self._refused: StoreFailed | None = None  # why files of this run are still on this machine
        self._refused_at = 0.0

    def log_metrics(
        self, metrics: Mapping[str, float | None], step: int = 0, tags: Mapping[str, str] | None = None
    ) -> None:
        """Logs metrics, and tags with them; metrics without a finite value are left out.

        As all that is logged, they are sent behind the caller's back, and the run does not end before they are there.

        Raises:
            Exception: something logged earlier was refused.
        """
        now = int(time.time() * 1000)
        entries = tuple(
            (key, float(value), now, step)
            for key, value in metrics.items()
            if value is not None and math.isfinite(value)
        )
        self._outbox.put(Record(metrics=entries, tags=dict(tags or {})))

    @cached_property
    def _present(self) -> Mapping[str, str]:
        """Params that the run had when it was taken over."""
        return dict(self.client.get_run(self.id).data.params)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs the params that `mlflow run` has not already logged as they were typed."""
        present = self._present
        missing = {key: value for key, value in params.items() if key not in present}
        self._outbox.put(Record(params=texts(missing)))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Sets tags now, in one call."""
        self.client.log_batch(self.id, tags=[RunTag(*each) for each in texts(tags).items()])

    def log_folder(self, folder: Path, artifact_path: str) -> None:
        """Uploads all files of a folder, see `_upload`."""
        self._upload(self.id, folder, artifact_path)

    def log_model(self, model_id: str, folder: Path) -> None:
        """Uploads the files of a logged model, see `_upload`, which is ready once its store has them."""
        if self._upload(model_id, folder):
            self.client.finalize_logged_model(model_id, "READY")

    def _upload(self, owner: str, folder: Path, artifact_path: str = "") -> bool:
        """Uploads all files of a folder; returns whether the store took them.

        Where the store of artifacts refuses they are kept on this machine, and the work goes on: it may have taken
        hours. The run then ends as `NotDelivered`, and the next command of its study delivers it.

        Raises:
            StoreFailed: it refuses, and nothing can be kept here.
        """
        try:
            upload(self.client, owner, folder, artifact_path)
        except StoreFailed as error:
            try:
                kept = files_of(self._journal) / (artifact_path or owner)
                shutil.copytree(folder, kept, dirs_exist_ok=True)
            except OSError as problem:
                raise StoreFailed(
                    f"{one_line(error)}; nor can it be kept on this machine: {one_line(problem)}"
                ) from error
            if self._refused is None:
                print(f"{one_line(error)}; it is kept on this machine", file=sys.stderr, flush=True)
            self._refused, self._refused_at = error, time.monotonic()
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
        """Names a data set or subset as an input of the run, so that the MLflow UI shows and finds it.

        Args:
            artifact: run and path of the artifact that holds it, from where MLflow's own call loads it.
        """
        source = {"tags": {"proxyflow": name}} if artifact is None else {"uri": f"runs:/{'/'.join(artifact)}"}
        dataset = {
            "name": name,
            "digest": fingerprint[:32],
            "source_type": "code" if artifact is None else "local",
            "source": json.dumps(source),
            "schema": json.dumps({"mlflow_colspec": DATA_COLUMNS}),
            "profile": json.dumps({"num_rows": rows, "num_classes": classes}),
            "context": context,
        }
        self._outbox.put(Record(inputs=(dataset,)))

    def finish(self, status: names.Status, error: BaseException | None = None) -> None:
        """Writes the end, and waits until the server has it.

        A success that the server refuses is no success, so that error is raised. Where the work has failed anyway,
        its own error matters more, and what keeps it from being written is only said on stderr.

        Raises:
            NotDelivered: the server was away, or its store of artifacts refused, for longer than the client's patience.
        """
        try:
            if self._refused is not None and status != "finished":
                self._outbox.keep(None)
            elif self._refused is not None and not self._deliver_files():
                # It is not finished before all of it is there; the journal keeps the end for then.
                self._outbox.keep(end_record(status, error))
                self._outbox.flush(LAST_WORDS_SECONDS)
                raise NotDelivered(
                    f"the work of run {self.id} is done, and kept on this machine: {one_line(self._refused)}. The next "
                    "command of this study delivers it once the store of artifacts takes it"
                )
            # Once this is in the journal the end is certain, whatever comes.
            with held_signals():
                self._outbox.put(end_record(status, error))
            if status == "finished":
                self._deliver()
            # The process is on its way out after an interruption; a second signal adds nothing.
            with held_signals(deliver=status != "interrupted"):
                if status != "finished" and not self._outbox.flush(LAST_WORDS_SECONDS):
                    print(f"run {self.id} will be marked {status} by the next command", file=sys.stderr)
        except Exception as problem:
            if status == "finished":
                raise
            print(f"run {self.id} could not be marked {status}: {one_line(problem)}", file=sys.stderr)
        finally:
            self._outbox.close()

    def _deliver_files(self) -> bool:
        if time.monotonic() - self._refused_at < DELIVER_AGAIN_SECONDS:
            return False
        try:
            deliver_files(self.client, self.id, self._journal)
        except (StoreFailed, UserError) as error:
            self._refused = StoreFailed(one_line(error))
            return False
        return True

    def _deliver(self) -> None:
        patience = max(patience_of(self.client), LAST_WORDS_SECONDS)
        try:
            delivered = self._outbox.flush(patience)
        except (KeyboardInterrupt, Terminated):
            self._outbox.flush(LAST_WORDS_SECONDS)
            raise
        if not delivered:
            raise NotDelivered(
                f"the tracking server has been away for {patience:.0f} s. The work of run {self.id} is "
                "done and kept on this machine; the next command of this study delivers it once the server is back"
            )


def deliver_files(client: MlflowClient, run_id: str, journal: Path, patience: float | None = None) -> None:
    """Uploads the files that were kept beside a run's journal, its own and its logged models', and removes them.

    Args:
        patience: see `upload`.

    Raises:
        StoreFailed: the store still refuses.
    """
    kept = files_of(journal)
    for folder in sorted(kept.iterdir()) if kept.is_dir() else ():
        if folder.name.startswith(MODEL):
            try:
                upload(client, folder.name, folder, patience=patience)
                client.finalize_logged_model(folder.name, "READY")
            except MlflowException as error:
                # A model that was deleted meanwhile takes none of its run's results along.
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                print(f"the files of {folder.name} are given up: {one_line(error)}", file=sys.stderr)
        else:
            upload(client, run_id, folder, folder.name, patience)
    shutil.rmtree(kept, ignore_errors=True)


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as MLflow takes them, those that are None left out."""
    return {key: str(value)[:MAX_VALUE] for key, value in values.items() if value is not None}


def end_record(status: names.Status, error: BaseException | None) -> Record:
    """The record that ends a run now."""
    reason = None if error is None else describe(error)
    end = (ENDS.get(status, "FAILED"), int(time.time() * 1000))
    return Record(tags=texts({names.STATUS: status, names.ERROR: reason}), end=end)


def describe(error: BaseException) -> str:
    """What went wrong, for the tag `proxyflow.error`."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C; the same command again resumes"
    if isinstance(error, Terminated):
        return "stopped by SIGTERM; the same command again resumes"
    return f"{type(error).__name__}: {one_line(error)}"[:MAX_VALUE]


@contextlib.contextmanager
def held_signals(deliver: bool = True) -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM for the few calls that write a run's end; afterwards they are delivered or dropped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came and deliver:
        signal.raise_signal(came[0])
