"""Opening and ending the runs of a study, which MLflow's `start_run` allows for one run per thread, in one experiment.

The main run of a process goes into the run that `mlflow run` created, where that is possible.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

from proxyflow.core.errors import NotAllowed, Terminated, without_credentials
from proxyflow.core.signals import deferred_signals
from proxyflow.tracking import names
from proxyflow.tracking.connection import access_advice, create_experiment
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.runs.claims import AlreadyClaimed, Claims
from proxyflow.tracking.runs.heartbeat import OpenRuns
from proxyflow.tracking.runs.launch import AssignedRun, user_run_name
from proxyflow.tracking.runs.owner import StaleRunDetector, initial_tags
from proxyflow.tracking.runs.recovery import Recovery
from proxyflow.tracking.runs.run import Run, format_tags
from proxyflow.tracking.runs.system_metrics import SystemMetrics, log_system_metrics
from proxyflow.tracking.ui.views import create_saved_views

# Kinds of runs that last long enough for system metrics.
LONG_KINDS: tuple[names.Kind, ...] = ("study", "search", "score", "distillation", "training")


class RunWriter:
    """Opens the runs of one study.

    Args:
        client: a connected client.
        study: the study's name, which is its experiment's; the experiment is created with the first run.
        system_metrics: how system metrics of long runs are logged, None for not at all.
        assigned: of another writer of this process, which shares it; None is what `MLFLOW_RUN_ID` names.

    Attributes:
        assigned: the run that `MLFLOW_RUN_ID` names, which the first main run of the process takes.
        recovery: delivers and ends what dead processes have left.
    """

    def __init__(
        self,
        client: MlflowClient,
        study: str,
        system_metrics: SystemMetrics | None = None,
        assigned: AssignedRun | None = None,
    ) -> None:
        self.client = client
        self.study = study
        self.system_metrics = system_metrics
        self.assigned = AssignedRun(client, study) if assigned is None else assigned
        self._open_runs = OpenRuns(client)
        self._detector = StaleRunDetector()
        self._claims = Claims(client, self._open_runs, self._detector)
        self.recovery = Recovery(client, study, self._open_runs, self._detector)

    @cached_property
    def experiment_id(self) -> str:
        """The study's experiment, created where there is none yet, with views of its trainings."""
        experiment_id = create_experiment(self.client, self.study)
        create_saved_views(self.client, experiment_id)
        return experiment_id

    @contextlib.contextmanager
    def open(
        self,
        kind: names.Kind,
        name: str,
        description: str,
        tags: Mapping[str, Any] | None = None,
        parent_id: str | None = None,
        main: bool = False,
        claim: bool = False,
    ) -> Iterator[Run]:
        """Opens a run for the block and ends it truthfully: finished, failed or interrupted.

        Args:
            name: what the MLflow UI calls it.
            description: a sentence on what it is.
            tags: tags besides those that every run has.
            parent_id: the run that it is nested in.
            main: the run is the command's own, so it goes into the run that `mlflow run` created. Where that one is
                in another experiment than the study, it links to a new run.
            claim: only one process may make the result that the tag `RUN_KEY` stands for, and only once:
                a training in each study, all else on the server.

        Raises:
            AlreadyClaimed: with `claim`, where another process has made the result, or is making it; nothing of this
                run remains.
            NotAllowed: this user may not write to the study.
        """
        assigned = self.assigned.take() if main else None
        run_name = (assigned and user_run_name(assigned)) or name
        own_tags = {
            **initial_tags(kind, self.study),
            names.DESCRIPTION: description,
            names.RUN_NAME: run_name,
            **(tags or {}),
        }
        if main:
            self.recovery.fail_stale_runs()
        with contextlib.ExitStack() as stack:
            adopt = not self.assigned.redirect_reason
            if assigned and adopt and assigned.info.experiment_id == self.experiment_id:
                run = Run(self.client, assigned.info.run_id, self.study)
                stack.enter_context(self._ending(run))
                run.set_tags(own_tags)
            else:
                run = self._create(own_tags, parent_id)
                stack.enter_context(self._ending(run))
                if claim:
                    self._claims.claim(run.id, kind, str(own_tags[names.RUN_KEY]), self.experiment_id)
                if assigned:
                    stack.enter_context(self._ending(self.assigned.link_to(assigned, run, name)))
            stack.enter_context(log_system_metrics(run, self.system_metrics if kind in LONG_KINDS else None))
            yield run

    def is_stale(self, run: TrackedRun) -> bool:
        """Whether the process of a run that is marked as running has died."""
        return self._detector.is_stale(run.id, run.tags)

    def is_claimed(self, kind: names.Kind, key: str) -> bool:
        """Whether another process has made, or is making, the result with this key."""
        return any(self._claims.valid(kind, key, self.experiment_id))

    def _create(self, tags: Mapping[str, Any], parent_id: str | None) -> Run:
        context = {key: without_credentials(str(value)) for key, value in resolve_tags().items()}
        if parent_id:
            context[names.PARENT] = parent_id
        # The run is created with its tags, so that it has an owner at every moment.
        all_tags = format_tags({**context, **tags})
        try:
            created = self.client.create_run(self.experiment_id, tags=all_tags, run_name=all_tags[names.RUN_NAME])
        except (KeyboardInterrupt, Terminated) as error:
            # The server may have created it all the same.
            with deferred_signals(deliver=False), contextlib.suppress(Exception):
                self.recovery.end_unknown_runs(error)
            raise
        except MlflowException as error:
            if not access_advice(error):
                raise
            raise NotAllowed(
                f"study={self.study}: you may not write to this study: ask its creator, or the server's administrator, "
                "for the permission EDIT, or choose another name"
            ) from None
        run = Run(self.client, created.info.run_id, self.study)
        run._existing_params = {}
        self._open_runs.add(run.id)
        return run

    @contextlib.contextmanager
    def _ending(self, run: Run) -> Iterator[None]:
        self._open_runs.add(run.id)
        try:
            yield
        except AlreadyClaimed as error:
            if run.id in self._open_runs:  # else it was withdrawn
                run.finish("failed", error)
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
            self._open_runs.discard(run.id)
