"""Access to a run's artifact store from any byte on: MLflow starts each download anew, and trusts any web server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import requests
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import UserError
from proxyflow.tracking.artifacts.store_errors import ROUTE, ArtifactMissing, get_once
from proxyflow.tracking.delivery.retrying import without_retries

MODEL_ID_PREFIX = "m-"  # of logged models; no run's id has it
HOSTS_VARIABLE = "PROXYFLOW_ARTIFACT_HOSTS"
CHUNK = 1 << 16  # small, as a broken connection may lose the chunk that is under way


@dataclass(frozen=True)
class ByteStream:
    """An artifact's content, or the rest of it.

    Attributes:
        start: the first byte's position; 0 where the store ignored the requested range.
        size: of the whole artifact, None where the store does not say.
        chunks: the content from `start` on.
    """

    start: int
    size: int | None
    chunks: Iterator[bytes]


ReadFrom = Callable[[str, int], ByteStream]


def open_repository(client: MlflowClient, owner: str) -> ArtifactRepository:
    """The artifact repository of a run or a logged model.

    Args:
        owner: the id of either.

    Raises:
        UserError: it is a foreign web server. Whoever creates an experiment chooses its artifact location, and MLflow
            sends the user's password to any web server that is named there.
    """
    is_model = owner.startswith(MODEL_ID_PREFIX)
    uri = client.get_logged_model(owner).artifact_location if is_model else client.get_run(owner).info.artifact_uri
    tracking = str(without_retries(client).tracking_uri)
    store = get_artifact_repository(uri, tracking_uri=tracking)
    if isinstance(store, HttpArtifactRepository):
        host = urlsplit(store.artifact_uri).netloc.rpartition("@")[2]
        trusted = {urlsplit(tracking).netloc.rpartition("@")[2], *os.environ.get(HOSTS_VARIABLE, "").split(",")}
        if host not in trusted:
            raise UserError(
                f"the artifacts of {owner_label(owner)} are on {host}, which is not the tracking server and would be "
                f"sent your password. If you trust it, set {HOSTS_VARIABLE}={host}"
            )
    return store


def local_file(client: MlflowClient, run_id: str, path: str) -> Path | None:
    """Where this machine has an artifact of a run as a file; None where only a server, or another machine, has it."""
    store = open_repository(client, run_id)
    if not isinstance(store, LocalArtifactRepository):
        return None
    found = Path(store.artifact_dir) / path
    return found if found.is_file() else None


def owner_label(owner: str) -> str:
    """A run or a logged model in a message."""
    return f"{'logged model' if owner.startswith(MODEL_ID_PREFIX) else 'run'} {owner}"


def range_reader(store: ArtifactRepository) -> ReadFrom | None:
    """Reads an artifact of a store from a byte on; None for a store that has whole artifacts only."""
    if isinstance(store, HttpArtifactRepository):
        return partial(_read_from_server, store)
    if isinstance(store, S3ArtifactRepository):
        return partial(_read_from_s3, store)
    return None


def download_whole(store: ArtifactRepository, path: str, folder: Path) -> Path:
    """Downloads an artifact from a store without ranges into a folder; returns the file, which may be the store's own.

    Raises:
        ArtifactMissing: the store has no such artifact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(store.download_artifacts(path, str(folder)))
    except Exception as error:
        # Each kind of repository has an error of its own for this.
        missing = getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"
        if missing or isinstance(error, FileNotFoundError) or str(error).startswith("No such file"):
            raise ArtifactMissing(f"the store has no {path}") from error
        raise


def _range(start: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-"} if start else {}


def _read_from_server(store: HttpArtifactRepository, path: str, start: int) -> ByteStream:
    server, _, folder = store.artifact_uri.partition(ROUTE)
    run_id = PurePosixPath(folder).parent.name
    if start and run_id:
        # The usual route ignores ranges where the server's store is S3; the route of MLflow's UI does not.
        response = get_once(server, "/get-artifact", {"run_uuid": run_id, "path": path}, _range(start))
        if response.status_code == 206:
            return _stream(response, start)
        # Nothing is left to read, or the server has artifacts but no runs.
        response.close()
    response = get_once(store.artifact_uri, f"/{path}")
    if not response.ok:
        raise requests.HTTPError(response.text[:500], response=response)
    return _stream(response, 0)


def _stream(response: requests.Response, start: int) -> ByteStream:
    length = response.headers.get("Content-Length")
    # A proxy that compresses all the same changes the length.
    encoded = bool(response.headers.get("Content-Encoding"))
    size = None if length is None or encoded else start + int(length)
    # Not iter_content, which drops the beginning of a chunk where the connection breaks.
    return ByteStream(start, size, response.raw.stream(CHUNK, decode_content=encoded))


def _read_from_s3(store: S3ArtifactRepository, path: str, start: int) -> ByteStream:
    from botocore.exceptions import ClientError  # 0.1 s, which only commands that use S3 need

    bucket, root = store.parse_s3_compliant_uri(store.artifact_uri)
    # MLflow's client, because it respects all of MLflow's and boto3's variables.
    client = store._get_s3_client()
    request = {"Bucket": bucket, "Key": str(PurePosixPath(root, path)), **store._bucket_owner_params}
    try:
        response = client.get_object(**request, **_range(start))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("InvalidRange", "416"):
            raise
        start, response = 0, client.get_object(**request)
    start = start if response["ResponseMetadata"]["HTTPStatusCode"] == 206 else 0
    return ByteStream(start, start + int(response["ContentLength"]), response["Body"].iter_chunks(CHUNK))
