"""Reaching the tracking server: a quick, clear refusal instead of minutes of silent retries."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from urllib.parse import urlsplit

# What MLflow reads at import: nothing of a study leaves for anywhere but the tracking server.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
# Two lines for each run that ends would drown what we say ourselves, too.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# Subsets are a few files; a bar for each download would drown what we say ourselves.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A logged model states its few requirements itself; the project's whole lock file is not among them.
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
# MLflow would try a call for four minutes in silence; a Patient client waits longer, and says so.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

import mlflow
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.errors import (
    ESCAPING,
    NotAllowed,
    NotFound,
    TrackingUnavailable,
    UserError,
    one_line,
    without_credentials,
)
from proxyflow.tracking.outages import patient
from proxyflow.tracking.views import furnish

REACH_SECONDS = 5
PATIENCE_SECONDS = 60.0  # with a server that goes away after it was reached, where nobody asked for more
Client = MlflowClient
# What helps where the server knows, or likes, the user not, by MLflow's code of the error.
ADVICE = {
    "UNAUTHENTICATED": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "PERMISSION_DENIED": "ask those who run it for access, or sign in as another user",
}


def connect(patience: float = PATIENCE_SECONDS) -> MlflowClient:
    """A client of the server that MLflow's own variables name, after one short try to reach it.

    Args:
        patience: seconds for which calls wait where the server goes away later.

    Returns:
        A client for `MLFLOW_TRACKING_URI`, or for MLflow's default store in the working folder.

    Raises:
        TrackingUnavailable: no answer within `REACH_SECONDS` seconds, or the store cannot be opened.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
    # A Ctrl-C that falls into the moment in which a connection is given back would be followed by its trace.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    uri = mlflow.get_tracking_uri()
    try:
        scheme = urlsplit(uri).scheme
    except ValueError as error:
        raise TrackingUnavailable(
            f"MLFLOW_TRACKING_URI={hide_password(uri)} is no address ({one_line(error)}): {ESCAPING}"
        ) from None
    if scheme in ("http", "https"):
        _reach_http(uri)
    try:
        if scheme.split("+")[0] in ("postgresql", "mysql", "mssql", "sqlite"):
            # Those who have a server need not wait for the import of a store.
            from proxyflow.tracking.databases import open_database

            client = open_database(uri, hide_password(uri), REACH_SECONDS)
        else:
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
    except MlflowException as error:
        advice = advice_on(error)
        raise TrackingUnavailable(
            f"the tracking server {hide_password(uri)} refused: {one_line(error)}{advice and '; '}{advice}"
        ) from None
    return patient(client, patience)


def advice_on(error: BaseException) -> str:
    """What helps where the server knows, or likes, the user not; empty for every other error."""
    return ADVICE.get(error.error_code, "") if isinstance(error, MlflowException) else ""


def server_uri(client: MlflowClient | None = None) -> str:
    """The tracking server or store of a client, as another process on this or another host names it.

    Credentials are in it where the user put them there.

    Args:
        client: None stands for the store that this process uses.
    """
    uri = mlflow.get_tracking_uri() if client is None else str(client.tracking_uri)
    return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}" if uri.startswith("sqlite:///") else uri


def server_address(client: MlflowClient | None = None) -> str:
    """Which tracking server or store a client, or this process, uses, without credentials."""
    return hide_password(server_uri(client))


def hide_password(uri: str) -> str:
    """The address without the credentials that it may carry."""
    return without_credentials(uri.replace(" ", "\0")).replace("\0", " ")  # in a text a space would end an address


def _reach_http(uri: str) -> None:
    verify = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() not in ("true", "1")
    try:
        # Any answer will do, also a refusal: whether we may use it is for MLflow to say.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = requests.get(uri, timeout=REACH_SECONDS, verify=verify, allow_redirects=False, stream=True)
            answer.close()
    except requests.exceptions.SSLError:
        # Something answers there; whether its certificate is good is for MLflow's own settings to decide.
        return
    except (requests.RequestException, UnicodeError) as error:
        reason = type(error).__name__
        raise TrackingUnavailable(
            f"the tracking server {hide_password(uri)} did not answer within {REACH_SECONDS} s ({reason}): start it, "
            "or set MLFLOW_TRACKING_URI to one that runs"
        ) from None
    if answer.status_code >= 500:
        raise TrackingUnavailable(
            f"the tracking server {hide_password(uri)} answers with status {answer.status_code}: wait until it works, "
            "or set MLFLOW_TRACKING_URI to one that does"
        )


def adopted_run_id() -> str | None:
    """The run that `mlflow run` made for this process, where it was started that way."""
    return os.environ.get("MLFLOW_RUN_ID") or None


def resolve_study(client: MlflowClient, name: str) -> str:
    """The study's name: `auto` is the MLflow experiment that is active for this process."""
    if name != "auto":
        return name
    run_id = adopted_run_id()
    experiment_id = client.get_run(run_id).info.experiment_id if run_id else os.environ.get("MLFLOW_EXPERIMENT_ID")
    if experiment_id:
        try:
            return str(client.get_experiment(experiment_id).name)
        except MlflowException as error:
            raise NotFound(f"MLFLOW_EXPERIMENT_ID={experiment_id}: {one_line(error)}; name a study instead") from None
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"


def known_experiments(client: MlflowClient, study: str) -> list[str]:
    """The study's experiment id in a list, empty where there is no such experiment yet."""
    try:
        found = client.get_experiment_by_name(study)
    except MlflowException as error:
        if advice := advice_on(error):
            raise _refused(study, advice) from None
        raise
    return [found.experiment_id] if found is not None and found.lifecycle_stage == "active" else []


def _refused(study: str, advice: str) -> NotAllowed:
    return NotAllowed(f"study={study}: the tracking server refuses it: {advice}")


def study_experiment(client: MlflowClient, study: str, create: bool) -> str:
    """The id of the study's experiment.

    Raises:
        NotFound: there is none, and `create` is false.
        NotAllowed: the server refuses the user.
        UserError: it was deleted, or MLflow refuses the name.
    """
    try:
        found = client.get_experiment_by_name(study)
        if found is None and create:
            try:
                made = str(client.create_experiment(study))
                furnish(client, made)
                return made
            except MlflowException:
                # Somebody else may have made it in this moment.
                found = client.get_experiment_by_name(study)
                if found is None:
                    raise
    except MlflowException as error:
        if advice := advice_on(error):
            raise _refused(study, advice) from None
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise UserError(f"study={study}: MLflow refuses this experiment name: {one_line(error)}") from None
    if found is None:
        known = [experiment.name for experiment in client.search_experiments(max_results=20)]
        raise NotFound(
            f"study={study} does not exist on {hide_password(mlflow.get_tracking_uri())}: known are {', '.join(known)}"
        )
    if found.lifecycle_stage != "active":
        raise UserError(
            f"study={study} was deleted on the tracking server: restore it (mlflow experiments restore "
            f"--experiment-id {found.experiment_id}) or choose another name"
        )
    return str(found.experiment_id)
