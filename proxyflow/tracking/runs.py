"""Writing one MLflow run so that, however the work ends, the run says the truth about it.

`mlflow run` makes a run before our code starts, logs the declared parameters itself and rewrites the run's
status from the exit code afterwards. So the first run of a process adopts that one, parameters that are there
already are not logged again, and what really happened is kept in a tag.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

from proxyflow.errors import Terminated, one_line
from proxyflow.tracking import names
from proxyflow.tracking.connection import adopted_run_id, study_experiment
from proxyflow.tracking.outbox import Outbox
from proxyflow.tracking.owner import code_is_dirty, is_dead, this_process
from proxyflow.tracking.reader import search

MAX_VALUE = 5000  # MLflow takes 6,000 characters in a param and 8,000 in a tag
LAST_METRICS_SECONDS = 5.0
MAX_PER_BATCH = 100  # params and tags that one log_batch takes


class Run:
    """One MLflow run that is being written."""

    def __init__(self, client: MlflowClient, run_id: str, study: str) -> None:
        self.client = client
        self.id = run_id
        self.study = study
        self._outbox = Outbox(lambda metrics: client.log_batch(run_id, metrics=metrics))

    def log_metrics(
        self, metrics: Mapping[str, float | None], step: int = 0, tags: Mapping[str, str] | None = None
    ) -> None:
        """Logs metrics, and tags with them, in one call; metrics without a finite value are left out."""
        entries = [RunTag(key, value) for key, value in (tags or {}).items()]
        self.client.log_batch(self.id, metrics=_entries(metrics, step), tags=entries)

    def log_later(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """As `log_metrics`, but behind the caller's back; the run does not end before they are there.

        Raises:
            Exception: metrics given earlier could not be written.
        """
        self._outbox.put(_entries(metrics, step))

    def flush(self) -> None:
        """Waits for what `log_later` was given.

        Raises:
            Exception: some of it could not be written.
        """
        self._outbox.flush()

    @cached_property
    def _present(self) -> Mapping[str, str]:
        """Params that the run had when it was taken over."""
        return dict(self.client.get_run(self.id).data.params)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs the params that `mlflow run` has not already logged as they were typed."""
        present = self._present
        entries = [
            Param(key, str(value)[:MAX_VALUE])
            for key, value in params.items()
            if key not in present and value is not None
        ]
        for start in range(0, len(entries), MAX_PER_BATCH):
            self.client.log_batch(self.id, params=entries[start : start + MAX_PER_BATCH])

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Sets tags in one call."""
        entries = [RunTag(key, str(value)[:MAX_VALUE]) for key, value in tags.items() if value is not None]
        for start in range(0, len(entries), MAX_PER_BATCH):
            self.client.log_batch(self.id, tags=entries[start : start + MAX_PER_BATCH])

    def log_folder(self, folder: Path, artifact_path: str) -> None:
        """Uploads all files of a folder."""
        self.client.log_artifacts(self.id, str(folder), artifact_path)

    def log_data(self, name: str, fingerprint: str, context: str, source: str, rows: int) -> None:
        """Names a data set or subset as an input of the run, so that the MLflow UI shows and finds it."""
        dataset = Dataset(
            name=name,
            digest=fingerprint[:32],
            source_type="code",
            source=f'{{"tags": {{"proxyflow": "{source}"}}}}',
            profile=f'{{"num_rows": {rows}}}',
        )
        self.client.log_inputs(self.id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def finish(self, status: names.Status, error: BaseException | None = None) -> None:
        """Writes the end.

        A success that cannot be written is no success, so that error is raised. Where the work has failed anyway,
        its own error matters more, and a server that has gone away by now is only said on stderr.
        """
        mlflow_status = {"finished": "FINISHED", "interrupted": "KILLED"}.get(status, "FAILED")
        # The process is on its way out after an interruption; a second signal adds nothing.
        with held_signals(deliver=status != "interrupted"):
            try:
                if status != "finished":
                    # What was measured before it went wrong is worth keeping, but no reason for another error, and
                    # less than saying that the run has ended.
                    with contextlib.suppress(Exception):
                        self._outbox.flush(timeout=LAST_METRICS_SECONDS)
                self.set_tags({names.STATUS: status, names.ERROR: describe(error) if error is not None else None})
                self.client.set_terminated(self.id, status=mlflow_status)
            except Exception as problem:
                if status == "finished":
                    raise
                print(f"run {self.id} could not be marked {status}: {one_line(problem)}", file=sys.stderr)


def _entries(metrics: Mapping[str, float | None], step: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [
        Metric(key, float(value), now, step)
        for key, value in metrics.items()
        if value is not None and math.isfinite(value)
    ]


def describe(error: BaseException) -> str:
    """What went wrong, for the tag `proxyflow.error`."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C; the same command again resumes"
    if isinstance(error, Terminated):
        return "stopped by SIGTERM; the same command again resumes"
    return f"{type(error).__name__}: {one_line(error)}"[:MAX_VALUE]


@contextlib.contextmanager
def held_signals(deliver: bool) -> Iterator[None]:
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


class RunWriter:
    """Opens the runs of one study.

    Args:
        client: a connected client.
        study: the study's name, which is its experiment's; the experiment is made with the first run.
    """

    def __init__(self, client: MlflowClient, study: str) -> None:
        self.client = client
        self.study = study
        self._adoptable = adopted_run_id()
        if self._adoptable:
            # From now on the run has an owner: whatever happens before it is opened can be told from it.
            Run(client, self._adoptable, study).set_tags(
                {**self._own_tags("study"), names.NOTE: "Getting ready: finding or making what the run needs."}
            )

    @cached_property
    def experiment_id(self) -> str:
        """The study's experiment, made where there is none yet."""
        return study_experiment(self.client, self.study, create=True)

    def _own_tags(self, kind: names.Kind) -> dict[str, str | None]:
        dirty = code_is_dirty()
        return {
            names.DIRTY: None if dirty is None else str(dirty).lower(),
            names.KIND: kind,
            names.VERSION: names.SCHEMA_VERSION,
            names.STATUS: "running",
            names.STUDY: self.study,
            names.OWNER: this_process(),
        }

    @contextlib.contextmanager
    def open(
        self,
        kind: names.Kind,
        name: str,
        note: str,
        tags: Mapping[str, Any] | None = None,
        parent: Run | None = None,
        main: bool = False,
    ) -> Iterator[Run]:
        """Opens a run for the block and ends it truthfully: finished, failed or interrupted.

        Args:
            name: what the MLflow UI calls it.
            note: a sentence on what it is.
            tags: tags besides those that every run has.
            parent: the run that it is nested in.
            main: it is what this process is for, so it takes over the run that `mlflow run` made. Where that one
                is in another experiment than the study, it stays there as a pointer to the new one.
        """
        own_tags = {**self._own_tags(kind), names.NOTE: note, names.RUN_NAME: name, **(tags or {})}
        if main:
            self.reap()
        with contextlib.ExitStack() as stack:
            run_id = self._take_adopted() if main else None
            if run_id and self.client.get_run(run_id).info.experiment_id == self.experiment_id:
                run = Run(self.client, run_id, self.study)
                run.set_tags(own_tags)
            else:
                run = self._create(own_tags, parent)
                if run_id:
                    stack.enter_context(self._ending(self._point(run_id, run, name)))
            stack.enter_context(self._ending(run))
            yield run

    def _take_adopted(self) -> str | None:
        run_id, self._adoptable = self._adoptable, None
        return run_id

    def _create(self, tags: Mapping[str, Any], parent: Run | None) -> Run:
        context = dict(resolve_tags())
        if parent:
            context[names.PARENT] = parent.id
        # Tags go in with the run's creation, so that no moment exists in which it has no owner.
        everything = {**context, **{key: str(value)[:MAX_VALUE] for key, value in tags.items() if value is not None}}
        created = self.client.create_run(self.experiment_id, tags=everything, run_name=str(tags[names.RUN_NAME]))
        run = Run(self.client, created.info.run_id, self.study)
        run._present = {}
        return run

    def _point(self, run_id: str, run: Run, name: str) -> Run:
        pointer = Run(self.client, run_id, self.study)
        pointer.set_tags(
            {
                **self._own_tags("study"),
                names.LAUNCHED: run.id,
                names.RUN_NAME: f"launched {name}",
                names.NOTE: f"Started by mlflow run; the work is run {run.id} in experiment {self.study}.",
            }
        )
        return pointer

    @contextlib.contextmanager
    def _ending(self, run: Run) -> Iterator[None]:
        try:
            yield
            run.flush()
        except (KeyboardInterrupt, Terminated) as error:
            run.finish("interrupted", error)
            raise
        except BaseException as error:
            run.finish("failed", error)
            raise
        run.finish("finished")

    def delete_artifacts(self, run_id: str, artifact_path: str) -> None:
        """Deletes a folder of a run's artifacts where its store can and may; what stays costs only space."""
        # Each kind of store has errors of its own for what it may not do.
        with contextlib.suppress(Exception):
            get_artifact_repository(self.client.get_run(run_id).info.artifact_uri).delete_artifacts(artifact_path)

    def reap(self) -> int:
        """Ends the runs of this study whose process is dead, and returns how many there were.

        Covers runs of this host that are still marked running (kill -9, power), wherever `mlflow run` put them, and
        those that died between the two calls that end a run.
        """
        marked = search(self.client, STUDY=self.study, STATUS="running")
        running = search(self.client, running=True, STUDY=self.study)
        found = {run.id: run for run in (*marked, *running)}
        dead = [run for run in found.values() if is_dead(run.tags.get(names.OWNER, ""))]
        for run in dead:
            if run.status == "running":
                reason = {names.STATUS: "failed", names.ERROR: "its process died before the run ended"}
                Run(self.client, run.id, self.study).set_tags(reason)
            self.client.set_terminated(run.id, status="FINISHED" if run.finished else "FAILED")
        return len(dead)


def close_adopted(note: str = "", error: BaseException | None = None) -> None:
    """Ends the run that `mlflow run` made where this process has not, or where it failed after ending it.

    That is after a dry run, a refused request, or a study whose report could not be made.
    """
    run_id = adopted_run_id()
    if not run_id:
        return
    with contextlib.suppress(MlflowException, OSError):
        client = MlflowClient()
        found = client.get_run(run_id)
        tags = found.data.tags
        status = tags.get(names.STATUS, "running")
        if status in ("failed", "interrupted") or (status == "finished" and error is None):
            return
        run = Run(client, run_id, tags.get(names.STUDY, ""))
        if status == "running":
            run.set_tags(
                {
                    names.KIND: tags.get(names.KIND, "study"),
                    names.VERSION: names.SCHEMA_VERSION,
                    names.STUDY: run.study or client.get_experiment(found.info.experiment_id).name,
                    names.NOTE: note or "This request was not carried out; the tag proxyflow.error says why.",
                }
            )
        stopped = isinstance(error, (KeyboardInterrupt, Terminated))
        run.finish("finished" if error is None else "interrupted" if stopped else "failed", error)
