"""The store of a run's artifacts: which one may be talked to, how bytes come from it, and what its troubles mean.

MLflow's own download hides why it failed, and begins from the start each time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from proxyflow.errors import UserError, one_line
from proxyflow.tracking.outages import FOREVER, PATIENCE_WITH_ERRORS, KnownTrouble, how_long_to_wait, impatient

MODEL = "m-"  # what the ids of logged models begin with, and those of runs do not
HOSTS_VARIABLE = "PROXYFLOW_ARTIFACT_HOSTS"
ROUTE = "/api/2.0/mlflow-artifacts/artifacts"  # of MLflow's server, where it passes artifacts on
# Small, as a connection that breaks may take along the chunk that was on its way.
CHUNK = 1 << 16
# What helps, by S3's code of the error.
ADVICE = {
    "NoSuchBucket": "the bucket does not exist: ask those who run the server",
    "ExpiredToken": "the credentials have expired: renew them",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    **dict.fromkeys(
        ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "Forbidden"),
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, or ask those who run the store for access",
    ),
}
ABSENT = ("NoSuchKey", "404")
# Of a store that is well and asks for patience; some stores give these with a status of 400.
LATER = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable")
_CUT = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)


@dataclass(frozen=True)
class Bytes:
    """An artifact's content, or the rest of it.

    Attributes:
        start: how many bytes were left out; 0 where the store gives everything whatever it was asked for.
        size: of the whole artifact, None where the store does not say.
        chunks: the content from `start` on.
    """

    start: int
    size: int | None
    chunks: Iterator[bytes]


class Absent(UserError):
    """The store has no such artifact."""


def store_of(client: MlflowClient, owner: str) -> ArtifactRepository:
    """The store of the artifacts of a run or a logged model.

    Args:
        owner: the id of either.

    Raises:
        UserError: it is a foreign web server. Who makes an experiment chooses where its artifacts are, and MLflow
            sends the user's password to any web server that is named there.
    """
    is_model = owner.startswith(MODEL)
    uri = client.get_logged_model(owner).artifact_location if is_model else client.get_run(owner).info.artifact_uri
    tracking = str(impatient(client).tracking_uri)
    store = get_artifact_repository(uri, tracking_uri=tracking)
    if isinstance(store, HttpArtifactRepository):
        host = urlsplit(store.artifact_uri).netloc.rpartition("@")[2]
        trusted = {urlsplit(tracking).netloc.rpartition("@")[2], *os.environ.get(HOSTS_VARIABLE, "").split(",")}
        if host not in trusted:
            raise UserError(
                f"the artifacts of {called(owner)} are on {host}, which is not the tracking server: it would be sent "
                f"your password. If you trust it, set {HOSTS_VARIABLE}={host}"
            )
    return store


def called(owner: str) -> str:
    """A run or a logged model in a message."""
    return f"{'logged model' if owner.startswith(MODEL) else 'run'} {owner}"


def giver_of(store: ArtifactRepository) -> Callable[[str, int], Bytes] | None:
    """What gives an artifact of a store from a byte on, None for a store that gives artifacts only as a whole."""
    if isinstance(store, HttpArtifactRepository):
        return partial(_from_server, store)
    if isinstance(store, S3ArtifactRepository):
        return partial(_from_s3, store)
    return None


@contextmanager
def opened(store: ArtifactRepository, give: Callable[[str, int], Bytes], path: str, start: int) -> Iterator[Bytes]:
    """Opens an artifact from its byte `start` on.

    Args:
        give: of `giver_of`.
        path: below the store's root; from the name of an artifact of ours, or checked by the caller.

    Raises:
        Absent, KnownTrouble: see `trouble_of`.
    """
    try:
        yield give(path, start)
    except Exception as error:
        trouble = trouble_of(error, store, path)
        if trouble is error:
            raise
        raise trouble from error


def _range(start: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-"} if start else {}


def _from_server(store: HttpArtifactRepository, path: str, start: int) -> Bytes:
    server, _, folder = store.artifact_uri.partition(ROUTE)
    run_id = PurePosixPath(folder).parent.name
    if start and run_id:
        # The usual route gives whole files alone where they are in S3; the one that MLflow's UI asks gives the rest.
        answer = _get(server, "/get-artifact", {"run_uuid": run_id, "path": path}, _range(start))
        if answer.status_code == 206:
            return _content(answer, start)
        # What is here is all of it, or more, or the server has artifacts alone and no runs.
        answer.close()
    answer = _get(store.artifact_uri, f"/{path}")
    if not answer.ok:
        raise requests.HTTPError(answer.text[:500], response=answer)
    return _content(answer, 0)


def _get(
    root: str, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> requests.Response:
    """Asks a server of MLflow's once, and gives what it answers, whatever that is."""
    answer: requests.Response = http_request(
        get_default_host_creds(root),
        path,
        "GET",
        stream=True,
        params=params,
        # Bytes are counted as they are stored, and what artifacts hold is compressed already.
        extra_headers={"Accept-Encoding": "identity", **(headers or {})},
        max_retries=0,
        raise_on_status=False,
    )
    return answer


def _content(answer: requests.Response, start: int) -> Bytes:
    length = answer.headers.get("Content-Length")
    # What a server in between compresses all the same has another length.
    encoded = bool(answer.headers.get("Content-Encoding"))
    size = None if length is None or encoded else start + int(length)
    # Not iter_content: where the connection is cut it drops what had arrived of a chunk.
    return Bytes(start, size, answer.raw.stream(CHUNK, decode_content=encoded))


def _from_s3(store: S3ArtifactRepository, path: str, start: int) -> Bytes:
    from botocore.exceptions import ClientError

    bucket, root = store.parse_s3_compliant_uri(store.artifact_uri)
    # MLflow's client, because it heeds all of MLflow's and boto3's variables.
    client = store._get_s3_client()
    wanted = {"Bucket": bucket, "Key": str(PurePosixPath(root, path)), **store._bucket_owner_params}
    try:
        answer = client.get_object(**wanted, **_range(start))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("InvalidRange", "416"):
            raise
        start, answer = 0, client.get_object(**wanted)
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    start = start if status == 206 else 0
    return Bytes(start, start + int(answer["ContentLength"]), answer["Body"].iter_chunks(CHUNK))


def trouble_of(error: BaseException, store: ArtifactRepository, path: str) -> BaseException:
    """What an error of a store comes to.

    Returns:
        `KnownTrouble`, which says for how long it makes sense to try again, `Absent`, or the error itself where it is
        of this machine (a full disk) or no store's.
    """
    if isinstance(error, (KnownTrouble, UserError)):
        return error
    chain = _chain(error)
    for each in chain:
        answer = getattr(each, "response", None)
        if isinstance(answer, Mapping):
            return _of_s3(answer, path)
    for each in chain:
        if isinstance(each, requests.HTTPError) and each.response is not None:
            return _of_server(each.response.status_code, _message(each.response), path)
    if any(_is_cut(each) for each in chain):
        # A server that refuses a large upload closes the connection on it; a short question has an answer.
        if isinstance(store, HttpArtifactRepository):
            return _asked(store, path) or KnownTrouble(one_line(error), FOREVER)
        return KnownTrouble(one_line(error), FOREVER)
    if isinstance(store, HttpArtifactRepository) and "too many 5" in str(error):
        return _asked(store, path) or KnownTrouble(one_line(error), PATIENCE_WITH_ERRORS)
    if isinstance(error, OSError):
        return error
    wait = how_long_to_wait(error)
    if not wait and type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return KnownTrouble(f"{one_line(error)}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", 0.0)
    return KnownTrouble(one_line(error), wait)


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what led to it, once each: an error raised again from itself is its own cause."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _is_cut(error: BaseException) -> bool:
    if isinstance(error, _CUT):
        return True
    if type(error).__module__ != "botocore.exceptions":  # whose import not every command needs
        return False
    from botocore import exceptions

    return isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError))


def _of_s3(response: Mapping[str, Any], path: str) -> BaseException:
    told = response.get("Error", {})
    code, status = str(told.get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"the S3 server answers {status} {code} ({told.get('Message', '') or 'no reason given'})"
    if code in ABSENT:
        return Absent(f"the store has no {path}")
    if status >= 500 or status == 429 or code in LATER:
        return KnownTrouble(text, FOREVER)
    advice = ADVICE.get(code)
    return KnownTrouble(f"{text}{f'; {advice}' if advice else ''}", 0.0)


def _of_server(status: int, message: str, path: str) -> BaseException:
    text = f"the tracking server answers {status} ({message})"
    # What its own store says, where it passes that on: boto3's words for an error.
    told = re.search(r"An error occurred \((\w+)\)", message)
    code = told[1] if told else ""
    if status == 404 and message.startswith("Failed to list"):  # it lists a folder before it gives a file
        return KnownTrouble(f"{text}: does its bucket exist?", 0.0)
    if code in ABSENT or status == 404:
        return Absent(f"the store has no {path}")
    if status in (429, 502, 503, 504) or code in LATER:
        return KnownTrouble(text, FOREVER)
    if code in ADVICE or status < 500:
        return KnownTrouble(f"{text}; ask those who run it whether it, and you, may use its store of artifacts", 0.0)
    return KnownTrouble(f"{text}: its store of artifacts fails; its log says why", PATIENCE_WITH_ERRORS)


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason or "no reason given"


def _asked(store: HttpArtifactRepository, path: str) -> BaseException | None:
    """What a tracking server says of its store when it is asked for a listing; None where nothing is wrong."""
    server, _, below = store.artifact_uri.partition(ROUTE)
    try:
        answer = _get(server, ROUTE, {"path": below.strip("/")})
    except (MlflowException, requests.RequestException):
        return None
    with answer:
        return None if answer.ok else _of_server(answer.status_code, _message(answer), path)


def local_copy(store: ArtifactRepository, path: str, folder: Path) -> Path:
    """Has a store that gives artifacts only as a whole put one into a folder; returns where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(store.download_artifacts(path, str(folder)))
    except Exception as error:
        # A folder says so as the system does, others as MLflow does.
        absent = getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST" or str(error).startswith("No such file")
        if absent or isinstance(error, FileNotFoundError):
            raise Absent(f"the store has no {path}") from error
        trouble = trouble_of(error, store, path)
        if trouble is error:
            raise
        raise trouble from error
