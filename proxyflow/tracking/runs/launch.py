"""The run and experiment that MLflow's variables assign to this process, and whether its work can go there.

MLflow's `start_run` adopts whatever run `MLFLOW_RUN_ID` names, also one that holds other work.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress

from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import name_utils

from proxyflow.core.errors import (
    InvalidValue,
    NotAllowed,
    NotFound,
    Terminated,
    UserError,
    one_line,
    without_credentials,
)
from proxyflow.tracking import names
from proxyflow.tracking.connection import access_advice, check_study
from proxyflow.tracking.delivery.retrying import print_notice
from proxyflow.tracking.runs.owner import initial_tags, this_process
from proxyflow.tracking.runs.run import Run

RUN_VARIABLE = "MLFLOW_RUN_ID"
AUTO = "auto"  # as a study: the active MLflow experiment
# MLflow's tags that may be a repository's address.
URL_TAGS = ("mlflow.source.name", "mlflow.source.git.repoURL")


def assigned_run(client: MlflowClient) -> MlflowRun | None:
    """The run that `MLFLOW_RUN_ID` names, None where it is not set.

    Raises:
        InvalidValue: there is no such run, or it was deleted.
        NotAllowed: this user may not see it.
    """
    run_id = os.environ.get(RUN_VARIABLE)
    if not run_id:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise InvalidValue(RUN_VARIABLE, run_id, "the tracking server has no such run; unset it") from None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise InvalidValue(RUN_VARIABLE, run_id, "it must be the id of a run, 32 characters; unset it") from None
        if advice := access_advice(error):
            raise NotAllowed(f"{RUN_VARIABLE}={run_id}: the tracking server refuses this run: {advice}") from None
        raise
    if run.info.lifecycle_stage != "active":
        raise InvalidValue(RUN_VARIABLE, run_id, "this run was deleted; restore it, or unset the variable")
    return run


def is_project_run(run: MlflowRun) -> bool:
    """Whether `mlflow run` created it."""
    return "mlflow.project.entryPoint" in run.data.tags


def adoption_conflict(run: MlflowRun) -> str:
    """Why the work of this process cannot go into a run; empty where it can.

    A run holds the work of one process. It is available where nothing was logged to it, and where `mlflow run` created
    it, which logs the declared parameters, where no other process owns it.
    """
    tags = run.data.tags
    if run.info.status not in ("RUNNING", "SCHEDULED"):
        return f"has ended ({run.info.status})"
    owner = tags.get(names.OWNER)
    if owner == this_process():
        return ""
    if owner or any(tag.startswith(names.PREFIX) for tag in tags):
        return "holds the work of another process"
    if run.data.metrics or (run.data.params and not is_project_run(run)):
        return "has params or metrics already"
    return ""


def user_run_name(run: MlflowRun) -> str:
    """The name that a user gave a run; empty where MLflow generated it."""
    name = str(run.info.run_name or "")
    match name.split("-"):
        case [first, second, number] if number.isdecimal():
            generated = first in name_utils._GENERATOR_PREDICATES and second in name_utils._GENERATOR_NOUNS
        case _:
            generated = False
    return "" if generated else name


def logged_params(run: MlflowRun) -> Mapping[str, str]:
    """A run's params as they were typed: MLflow logs those of a project quoted, as in its shell command."""
    return {key: _unquoted(value) for key, value in run.data.params.items()}


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        return value
    return words[0] if len(words) == 1 else value


class AssignedRun:
    """The run that was assigned to this process, until its work begins.

    Args:
        client: a connected client.
        study: the study of the work.
    """

    def __init__(self, client: MlflowClient, study: str) -> None:
        self._client = client
        self._study = study
        self.redirect_reason = ""  # why the work goes into a new run all the same
        run = assigned_run(client)
        self._run = run if run and _is_available(run) else None
        if self._run is not None:
            tags = self._run.data.tags
            # `mlflow run` may have been started with an address that has a token, which is a tag by now.
            clean = {key: without_credentials(tags[key]) for key in URL_TAGS if key in tags}
            # From now on the run has an owner, so that whatever happens before it is opened shows in it.
            description = "Getting ready: finding or making what the run needs."
            Run(client, self._run.info.run_id, study).set_tags(
                {**clean, **initial_tags("study", study), names.DESCRIPTION: description}
            )

    @property
    def params(self) -> Mapping[str, str]:
        """The run's params as they were typed, which MLflow cannot change any more; none without a run."""
        return {} if self._run is None else logged_params(self._run)

    def redirect(self, reason: str) -> None:
        """Leaves the run with a link to a new one that will have the work.

        Args:
            reason: a clause that says which of its params differ from what is used.
        """
        if self._run is not None and not self.redirect_reason:
            print_notice(
                f"note: {RUN_VARIABLE}={self._run.info.run_id}: {reason}; a new run has the params that are used"
            )
            self.redirect_reason = reason

    def take(self) -> MlflowRun | None:
        """The run, for the work that begins; None where there is none, or where another process took it."""
        run, self._run = self._run, None
        # Of two processes with the same run, the last one to tag it owns it.
        return run if run and _is_available(self._client.get_run(run.info.run_id)) else None

    def link_to(self, run: MlflowRun, new: Run, name: str) -> Run:
        """Links the assigned run to the new one that has the work.

        Args:
            name: of the new run.
        """
        link = Run(self._client, run.info.run_id, self._study)
        reason = f": {self.redirect_reason}" if self.redirect_reason else ""
        link.set_tags(
            {
                **initial_tags("study", self._study),
                names.LAUNCHED: new.id,
                names.RUN_NAME: user_run_name(run) or f"launched {name}",
                names.DESCRIPTION: f"Started by mlflow run; the work is run {new.id} in experiment "
                f"{self._study}{reason}.",
            }
        )
        return link


def _is_available(run: MlflowRun) -> bool:
    conflict = adoption_conflict(run)
    if conflict:
        print_notice(f"note: {RUN_VARIABLE}={run.info.run_id} {conflict}: it stays unchanged, and a new run is created")
    return not conflict


def end_assigned_run(description: str = "", error: BaseException | None = None) -> None:
    """Ends the assigned run where the command has not, or where the command failed after that.

    This happens after a dry run, a refused request, or a study whose report failed. Only a run that `mlflow run`
    created, or that this process owns, is ended.
    """
    with suppress(MlflowException, OSError, UserError):
        client = MlflowClient()
        found = assigned_run(client)
        if found is None:
            return
        tags = found.data.tags
        status = tags.get(names.STATUS, "running")
        mine = tags.get(names.OWNER) == this_process() or (is_project_run(found) and not adoption_conflict(found))
        if not mine or status in ("failed", "interrupted") or (status == "finished" and error is None):
            return
        run = Run(client, found.info.run_id, tags.get(names.STUDY, ""))
        if status == "running":
            run.set_tags(
                {
                    names.KIND: tags.get(names.KIND, "study"),
                    names.VERSION: names.SCHEMA_VERSION,
                    names.STUDY: run.study or client.get_experiment(found.info.experiment_id).name,
                    names.DESCRIPTION: description
                    or "The command did not carry out this request; see the tag proxyflow.error.",
                }
            )
        interrupted = isinstance(error, (KeyboardInterrupt, Terminated))
        run.finish("finished" if error is None else "interrupted" if interrupted else "failed", error)


def resolve_study(client: MlflowClient, name: str) -> str:
    """The study's name, checked before any work: `auto` is the active MLflow experiment.

    Raises:
        InvalidValue: no study can have this name.
        UserError: it was deleted, or the server refuses this user.
    """
    resolved = _active_experiment(client) if name in ("", AUTO) else name
    check_study(client, resolved)
    return resolved


def _active_experiment(client: MlflowClient) -> str:
    run = assigned_run(client)
    experiment_id = run.info.experiment_id if run else os.environ.get("MLFLOW_EXPERIMENT_ID")
    if experiment_id:
        try:
            return str(client.get_experiment(experiment_id).name)
        except MlflowException as error:
            raise NotFound(f"MLFLOW_EXPERIMENT_ID={experiment_id}: {one_line(error)}; name a study instead") from None
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
