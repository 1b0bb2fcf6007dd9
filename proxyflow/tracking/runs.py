"""Opening and ending the runs of a study: who is at which one, what nobody works on any more, and what was left to say.

The first run of a process takes over the one that `mlflow run` made.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

from proxyflow.errors import NotAllowed, StoreFailed, Terminated, UserError, one_line, without_credentials
from proxyflow.tracking import names
from proxyflow.tracking.artifact_store import store_of
from proxyflow.tracking.connection import adopted_run_id, advice_on, server_address, study_experiment
from proxyflow.tracking.found import FoundRun
from proxyflow.tracking.journal import Left, alone_with, files_of, folder_of, left_behind
from proxyflow.tracking.outages import impatient, is_outage, patience_of
from proxyflow.tracking.outbox import write
from proxyflow.tracking.owner import BEAT_SECONDS, Watch, code_is_dirty, is_dead, is_here, this_process
from proxyflow.tracking.reader import search
from proxyflow.tracking.run import (
    DELIVER_AGAIN_SECONDS,
    ENDS,
    MAX_VALUE,
    Run,
    Taken,
    deliver_files,
    describe,
    end_record,
    held_signals,
)
from proxyflow.tracking.system import Sampling, sampled

# Tags of MLflow's that may be a repository's address.
ADDRESSES = ("mlflow.source.name", "mlflow.source.git.repoURL")
SAMPLED: tuple[names.Kind, ...] = ("study", "score", "distillation", "training")  # kinds of runs that work long enough


class RunWriter:
    """Opens the runs of one study.

    Args:
        client: a connected client.
        study: the study's name, which is its experiment's; the experiment is made with the first run.
        sampling: how system metrics of the runs that work long are taken, None for not at all.
    """

    def __init__(self, client: MlflowClient, study: str, sampling: Sampling | None = None) -> None:
        self.client = client
        self.study = study
        self.sampling = sampling
        self._watch = Watch()
        self._open: set[str] = set()
        self._undelivered: dict[Path, float] = {}  # journals, and when they were tried
        self._lock = threading.Lock()
        self._heart: threading.Thread | None = None
        self._adoptable = adopted_run_id()
        if self._adoptable:
            # What mlflow run was told to run may be an address with a token, and is a tag by now.
            given = client.get_run(self._adoptable).data.tags
            clean = {key: without_credentials(given[key]) for key in ADDRESSES if key in given}
            # From now on the run has an owner: whatever happens before it is opened can be told from it.
            Run(client, self._adoptable, study).set_tags(
                {**clean, **self._own_tags("study"), names.NOTE: "Getting ready: finding or making what the run needs."}
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
            names.HEARTBEAT: _now(),
        }

    @contextlib.contextmanager
    def open(
        self,
        kind: names.Kind,
        name: str,
        note: str,
        tags: Mapping[str, Any] | None = None,
        parent_id: str | None = None,
        main: bool = False,
        claim: bool = False,
    ) -> Iterator[Run]:
        """Opens a run for the block and ends it truthfully: finished, failed or interrupted.

        Args:
            name: what the MLflow UI calls it.
            note: a sentence on what it is.
            tags: tags besides those that every run has.
            parent_id: the run that it is nested in.
            main: it is what this process is for, so it takes over the run that `mlflow run` made. Where that one
                is in another experiment than the study, it stays there as a pointer to the new one.
            claim: only one process may be at what the tag `RUN_KEY` stands for, and it is done once:
                a training in each study, all else on the server.

        Raises:
            Taken: with `claim`, where another process has done it, or is at it; nothing of this run remains.
            NotAllowed: this user may not write to the study.
        """
        own_tags = {**self._own_tags(kind), names.NOTE: note, names.RUN_NAME: name, **(tags or {})}
        if main:
            self.reap()
        with contextlib.ExitStack() as stack:
            run_id = self._take_adopted() if main else None
            if run_id and self.client.get_run(run_id).info.experiment_id == self.experiment_id:
                run = Run(self.client, run_id, self.study)
                stack.enter_context(self._ending(run))
                run.set_tags(own_tags)
            else:
                run = self._create(own_tags, parent_id)
                stack.enter_context(self._ending(run))
                if claim:
                    self._claim(run, kind, str(own_tags[names.RUN_KEY]))
                if run_id:
                    stack.enter_context(self._ending(self._point(run_id, run, name)))
            stack.enter_context(sampled(run, self.sampling if kind in SAMPLED else None))
            yield run

    def is_lost(self, run: FoundRun) -> bool:
        """Whether a run that is marked as running has nobody left who works on it."""
        return self._watch.is_lost(run.id, run.tags)

    def is_taken(self, kind: names.Kind, key: str) -> bool:
        """Whether another process is at what this key stands for, or has done it."""
        runs = search(self.client, self._shared_by(kind), KIND=kind, RUN_KEY=key)
        return any(run.finished or (run.status == "running" and not self.is_lost(run)) for run in runs)

    def _shared_by(self, kind: names.Kind) -> list[str] | None:
        """The experiments that look for such a run in each other: scores and subsets are used by all studies."""
        return [self.experiment_id] if kind == "training" else None

    def _claim(self, run: Run, kind: names.Kind, key: str) -> None:
        """Makes sure that nobody else is at this key, or withdraws.

        Each process makes its run known before it looks for others. So of two that come together at least one sees
        the other, and who sees another withdraws, whoever was first: clocks do not matter, and it needs no lock.
        """
        for other in search(self.client, self._shared_by(kind), KIND=kind, RUN_KEY=key):
            mine = other.tags.get(names.OWNER) == this_process()
            if other.id == run.id or (other.status != "running" and not other.finished):
                continue
            if other.status == "running" and mine and other.id not in self._open:
                self._withdraw(other.id)  # made by a call that was repeated because its answer was lost
            elif other.finished or not self.is_lost(other):
                self._withdraw(run.id)
                raise Taken(other.id, other.finished)

    def _withdraw(self, run_id: str) -> None:
        self._open.discard(run_id)
        write(self.client, run_id, end_record("interrupted", Taken(run_id, finished=False)))
        with contextlib.suppress(MlflowException):  # not everybody may delete; then it stays as a run that was killed
            self.client.delete_run(run_id)

    def _beat(self) -> None:
        client = impatient(self.client)
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                if not self._open:
                    self._heart = None
                    return
            for run_id in list(self._open):
                # A server that is away gets the next beat.
                with contextlib.suppress(Exception):
                    client.set_tag(run_id, names.HEARTBEAT, _now())

    def _take_adopted(self) -> str | None:
        run_id, self._adoptable = self._adoptable, None
        return run_id

    def _create(self, tags: Mapping[str, Any], parent_id: str | None) -> Run:
        context = {key: without_credentials(str(value)) for key, value in resolve_tags().items()}
        if parent_id:
            context[names.PARENT] = parent_id
        # Tags go in with the run's creation, so that no moment exists in which it has no owner.
        everything = {**context, **{key: str(value)[:MAX_VALUE] for key, value in tags.items() if value is not None}}
        try:
            created = self.client.create_run(self.experiment_id, tags=everything, run_name=str(tags[names.RUN_NAME]))
        except (KeyboardInterrupt, Terminated) as error:
            # The server may have made it all the same.
            with held_signals(deliver=False), contextlib.suppress(Exception):
                self._bury_unknown(error)
            raise
        except MlflowException as error:
            if not advice_on(error):
                raise
            raise NotAllowed(
                f"study={self.study} is not yours to write to: ask whoever began it, or who runs the tracking server, "
                "for the permission EDIT, or choose another name"
            ) from None
        run = Run(self.client, created.info.run_id, self.study)
        run._present = {}
        self._open.add(run.id)
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
        with self._lock:
            self._open.add(run.id)
            if self._heart is None:
                self._heart = threading.Thread(target=self._beat, name="proxyflow-heartbeat", daemon=True)
                self._heart.start()
        try:
            yield
        except Taken as taken:
            if run.id in self._open:  # else it has withdrawn
                run.finish("failed", taken)
            raise
        except (KeyboardInterrupt, Terminated) as error:
            run.finish("interrupted", error)
            raise
        except BaseException as error:
            run.finish("failed", error)
            raise
        else:
            run.finish("finished")
        finally:
            self._open.discard(run.id)

    def delete_artifacts(self, run_id: str, artifact_path: str) -> None:
        """Deletes a folder of a run's artifacts where its store can and may; what stays costs only space."""
        # Each kind of store has errors of its own for what it may not do.
        with contextlib.suppress(Exception):
            store_of(self.client, run_id).delete_artifacts(artifact_path)

    def reap(self, own: bool = False) -> int:
        """Ends the runs of this study that nobody works on any more, and returns how many there were.

        What such a process had done and could not tell the server is delivered first. Covers runs that are still
        marked running (kill -9, power, a lost machine), wherever `mlflow run` put them, and those that died between
        the two calls that end a run.

        Args:
            own: also runs of this process that it does not know: made by a call whose answer was lost.
        """
        self.deliver()
        marked = search(self.client, STUDY=self.study, STATUS="running")
        running = search(self.client, running=True, STUDY=self.study)
        found = {run.id: run for run in (*marked, *running)}
        me = this_process()
        lost = [
            run
            for run in found.values()
            if self.is_lost(run) or (own and run.tags.get(names.OWNER) == me and run.id not in self._open)
        ]
        for run in lost:
            self._bury(run, "its process died before the run ended")
        return len(lost)

    def bury(self, owner: str, reason: str, status: names.Status = "failed") -> None:
        """Ends the runs of a process that is known to have died."""
        for run in search(self.client, OWNER=owner, STATUS="running"):
            self._bury(run, reason, status)

    def _bury_unknown(self, error: BaseException) -> None:
        """Ends the runs of this process that it does not know."""
        for run in search(impatient(self.client), OWNER=this_process(), STATUS="running"):
            if run.id not in self._open:
                self._bury(run, describe(error), "interrupted")

    def _bury(self, run: FoundRun, reason: str, status: names.Status = "failed") -> None:
        try:
            if run.status == "running":
                Run(self.client, run.id, self.study).set_tags({names.STATUS: status, names.ERROR: reason})
            self.client.set_terminated(run.id, status=ENDS.get(run.status if run.finished else status, "FAILED"))
        except MlflowException as error:
            if not advice_on(error):  # one of another user's; whoever may write to it will end it
                raise

    def deliver(self) -> None:
        """Writes what processes of this machine had to say when the server was away and they ended.

        What cannot be delivered stays, and is said once: it may be of another study, whose store is gone for good.
        """
        patience = min(patience_of(self.client), DELIVER_AGAIN_SECONDS)
        for left in left_behind(folder_of(server_address())):
            ended = any(record.end for record in left.records)
            done_here = left.owner == this_process() and left.run_id not in self._open and ended
            if is_here(left.owner) and not is_dead(left.owner) and not done_here:
                continue
            before = self._undelivered.get(left.path, -math.inf)
            if time.monotonic() - before < DELIVER_AGAIN_SECONDS:
                continue
            with alone_with(left.path) as alone:
                if alone and (why := self._deliver(left, patience if before < 0 else 0.0)):
                    self._undelivered[left.path], patience = time.monotonic(), 0.0
                    if before < 0:
                        print(why, file=sys.stderr, flush=True)

    def _deliver(self, left: Left, patience: float) -> str:
        """Delivers a journal and removes it; returns in a line what stays and why, nothing where all is well.

        Args:
            patience: seconds for which a store of artifacts that fails is waited for.
        """
        kept = f"what was kept of run {left.run_id}"
        try:
            run = self.client.get_run(left.run_id)
            kept = f"{kept} of study {run.data.tags.get(names.STUDY, '')}"
            if left.owner and not is_here(left.owner) and not self._watch.is_lost(left.run_id, run.data.tags):
                return ""
            if not self._is_made_again(run):
                deliver_files(self.client, left.run_id, left.path, patience)
                for record in left.records:
                    write(self.client, left.run_id, record)
        except (StoreFailed, UserError, MlflowException, OSError) as error:
            if isinstance(error, MlflowException | OSError) and is_outage(error):
                raise
            if why := _why_it_stays(error):
                return f"{kept} stays in {left.path}: {why}"
            # The run is gone; nothing will ever take this.
            print(f"{kept} was refused: {one_line(error)}", file=sys.stderr)
        left.path.unlink(missing_ok=True)
        shutil.rmtree(files_of(left.path), ignore_errors=True)
        return ""

    def _is_made_again(self, run: MlflowRun) -> bool:
        """Whether a run that was found dead stays as it is, as its work has been done once more, or it was deleted."""
        tags = run.data.tags
        if run.info.lifecycle_stage != "active":
            return True
        if run.info.status == "RUNNING" or names.RUN_KEY not in tags:
            return False
        shared_by = [run.info.experiment_id] if tags[names.KIND] == "training" else None
        others = search(self.client, shared_by, KIND=tags[names.KIND], RUN_KEY=tags[names.RUN_KEY])
        return any(other.finished or other.status == "running" for other in others if other.id != run.info.run_id)


def _why_it_stays(error: Exception) -> str:
    """Why what a journal holds may still be taken later; nothing where its run is gone."""
    if not isinstance(error, MlflowException):
        return one_line(error)
    advice = advice_on(error)
    return advice and f"the tracking server has no such run, or it is not yours to write to: {advice}"


def _now() -> str:
    return f"{time.time():.0f}"


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
