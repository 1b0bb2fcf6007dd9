"""Small files of runs by MLflow's own URI of an artifact, `runs:/RUN_ID/PATH`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path, PurePosixPath

from proxyflow.core.artifacts import fetched_by
from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.tracking.artifacts.transfer import fetch
from proxyflow.tracking.connection import connect
from proxyflow.tracking.queries.reader import existing_run

_URI = re.compile(r"runs:/(?P<run>\w[\w-]*)/(?P<path>[^/].*)")


def split_uri(what: str, uri: str) -> tuple[str, str]:
    """The run's id and the path below its artifacts.

    Args:
        what: the option that named it, for messages.

    Raises:
        InvalidValue: it is no URI of an artifact of a run.

    Example:
        >>> split_uri("config", "runs:/0f3c/search/best.yaml")
        ('0f3c', 'search/best.yaml')
    """
    found = _URI.fullmatch(uri)
    if found is None or ".." in PurePosixPath(found["path"]).parts:
        raise InvalidValue(what, uri, "an artifact of a run is runs:/RUN_ID/PATH, as in runs:/RUN_ID/search/best.yaml")
    return found["run"], found["path"]


def fetch_of_run(what: str, run_id: str, path: str, target: Path) -> Path:
    """Downloads an artifact from the tracking server that MLflow's own variables name, see `core.artifacts`.

    Raises:
        TrackingUnavailable, NotFound, NotAllowed, StoreFailed: see `read_artifact`.
        UserError: the run has no such artifact.
    """
    client = connect()
    existing_run(client, run_id, f"{what}: run {run_id}", f"a run that has {path}")
    return fetch(client, run_id, path, target)


fetched_by(fetch_of_run)


def read_artifact(what: str, uri: str) -> str:
    """The text of a run's artifact on the tracking server that MLflow's own variables name.

    Raises:
        InvalidValue: it is no URI of an artifact of a run.
        TrackingUnavailable: the server does not respond.
        NotFound: no such run.
        NotAllowed: this user may not see the run.
        UserError: the run has no such artifact, or it is no UTF-8 text.
        StoreFailed: the artifact store refuses, or failed for as long as it is retried.
    """
    run_id, path = split_uri(what, uri)
    client = connect()
    existing_run(client, run_id, f"{what}={uri}: run {run_id}", "a run that has this artifact")
    with tempfile.TemporaryDirectory(prefix="proxyflow-") as folder:
        file = fetch(client, run_id, path, Path(folder) / PurePosixPath(path).name)
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{what}={uri} cannot be read as UTF-8 text: {error}") from None
