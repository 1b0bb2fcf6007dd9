"""Connecting to the tracking server, with a clear error within seconds where MLflow retries silently for minutes."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import proxyflow.tracking.mlflow_defaults  # noqa: F401  (before mlflow, which reads variables at its import)

# isort: split
import mlflow
import requests
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import (
    ESCAPING,
    InvalidValue,
    NotAllowed,
    NotFound,
    TrackingUnavailable,
    UserError,
    one_line,
    without_credentials,
)
from proxyflow.tracking import names
from proxyflow.tracking.delivery.retrying import with_retries

CONNECT_TIMEOUT_SECONDS = 5
RETRY_TIMEOUT_SECONDS = 60.0  # after a successful connection, where no longer timeout is given
Client: TypeAlias = MlflowClient
# Remedies where the server does not know the user, or denies access, by MLflow's error code.
ADVICE = {
    "UNAUTHENTICATED": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "PERMISSION_DENIED": "ask its administrator for access, or sign in as another user",
}


def connect(retry_timeout: float = RETRY_TIMEOUT_SECONDS) -> MlflowClient:
    """A client of the server that MLflow's own variables name, after one short attempt to connect.

    Args:
        retry_timeout: seconds for which later calls are retried during an outage.

    Returns:
        A client for `MLFLOW_TRACKING_URI`, or for MLflow's default store in the working folder.

    Raises:
        TrackingUnavailable: no response within `CONNECT_TIMEOUT_SECONDS` seconds, or the store cannot be opened.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
    # A Ctrl-C while a connection is returned to its pool would print a traceback.
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
            from proxyflow.tracking.databases import open_database  # start-up time: over 1 s, which a server saves

            client = open_database(uri, hide_password(uri), CONNECT_TIMEOUT_SECONDS)
        else:
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
    except MlflowException as error:
        advice = access_advice(error)
        raise TrackingUnavailable(
            f"the tracking server {hide_password(uri)} refused: {one_line(error)}{advice and '; '}{advice}"
        ) from None
    return with_retries(client, retry_timeout)


def access_advice(error: BaseException) -> str:
    """The remedy where the server does not know the user, or denies access; empty for every other error."""
    return ADVICE.get(error.error_code, "") if isinstance(error, MlflowException) else ""


def server_uri(client: MlflowClient | None = None) -> str:
    """The tracking server or store of a client, as another process on this or another host addresses it.

    It contains credentials where the user put them there.

    Args:
        client: None is the store of this process.
    """
    uri = mlflow.get_tracking_uri() if client is None else str(client.tracking_uri)
    return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}" if uri.startswith("sqlite:///") else uri


def server_address(client: MlflowClient | None = None) -> str:
    """The tracking server or store of a client, or of this process, without credentials."""
    return hide_password(server_uri(client))


def hide_password(uri: str) -> str:
    """The address without credentials."""
    return without_credentials(uri.replace(" ", "\0")).replace("\0", " ")  # a space would end the address


def _reach_http(uri: str) -> None:
    verify = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() not in ("true", "1")
    try:
        # Any response will do: MLflow reports a refusal itself.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            response = requests.get(
                uri, timeout=CONNECT_TIMEOUT_SECONDS, verify=verify, allow_redirects=False, stream=True
            )
            response.close()
    except requests.exceptions.SSLError:
        # The server responds; MLflow's own settings decide whether its certificate is valid.
        return
    except (requests.RequestException, UnicodeError) as error:
        reason = type(error).__name__
        raise TrackingUnavailable(
            f"the tracking server {hide_password(uri)} did not respond within {CONNECT_TIMEOUT_SECONDS} s ({reason}): "
            "start it, or set MLFLOW_TRACKING_URI to a running one"
        ) from None
    if response.status_code >= 500:
        raise TrackingUnavailable(
            f"the tracking server {hide_password(uri)} responds with status {response.status_code}: wait until it "
            "works, or set MLFLOW_TRACKING_URI to another one"
        )


def experiment_ids(client: MlflowClient, study: str) -> list[str]:
    """The study's experiment id in a list, empty where there is no such experiment yet."""
    found = _find(client, study)
    return [found.experiment_id] if found is not None and found.lifecycle_stage == "active" else []


def check_study(client: MlflowClient, study: str) -> None:
    """Checks that a study can be used, before any work is done for it; it need not exist yet.

    Raises:
        InvalidValue: no study can have this name.
        NotAllowed: the server refuses the user.
        UserError: it was deleted, or MLflow refuses the name.
    """
    names.check_study_name(study)
    found = _find(client, study)
    if found is not None:
        _active_id(found)
    elif len(study) > names.STUDY_LENGTH:
        rule = f"it has {len(study)} characters, and the name of an MLflow experiment at most {names.STUDY_LENGTH}"
        raise InvalidValue("study", study, rule)


def study_experiment_id(client: MlflowClient, study: str, option: str = "study") -> str:
    """The id of the study's experiment.

    Args:
        option: where the study was named, for messages.

    Raises:
        NotFound: there is none.
        NotAllowed: the server refuses the user.
        UserError: it was deleted, or MLflow refuses the name.
    """
    found = _find(client, study)
    if found is None:
        known = ", ".join(experiment.name for experiment in client.search_experiments(max_results=20))
        raise NotFound(
            f"{option}={study} does not exist on {hide_password(mlflow.get_tracking_uri())}; studies there: {known}"
        )
    return _active_id(found, option)


def create_experiment(client: MlflowClient, study: str) -> str:
    """The id of the study's experiment, created where there is none.

    Raises:
        NotAllowed: the server refuses the user.
        UserError: it was deleted, or MLflow refuses the name.
    """
    found = _find(client, study)
    if found is None:
        try:
            with _study_errors(study):
                return str(client.create_experiment(study))
        except (MlflowException, UserError):
            # Another process may have created it at the same moment.
            found = _find(client, study)
            if found is None:
                raise
    return _active_id(found)


def _find(client: MlflowClient, study: str) -> Experiment | None:
    """The study's experiment in whatever state, None where there is none."""
    with _study_errors(study):
        return client.get_experiment_by_name(study)


@contextmanager
def _study_errors(study: str) -> Iterator[None]:
    """Explains why the server refuses a study."""
    try:
        yield
    except MlflowException as error:
        if advice := access_advice(error):
            raise NotAllowed(f"study={study}: the tracking server refuses it: {advice}") from None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise UserError(f"study={study}: MLflow refuses this experiment name: {one_line(error)}") from None
        raise


def _active_id(found: Experiment, option: str = "study") -> str:
    if found.lifecycle_stage != "active":
        raise UserError(
            f"{option}={found.name} was deleted on the tracking server: restore it (mlflow experiments restore "
            f"--experiment-id {found.experiment_id}) or choose another name"
        )
    return str(found.experiment_id)
