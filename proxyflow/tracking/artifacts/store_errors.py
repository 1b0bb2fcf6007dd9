"""Classification of errors of artifact stores, because MLflow's repositories hide which are worth a retry, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests
import urllib3
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from proxyflow.core.errors import UserError, one_line
from proxyflow.tracking.delivery.retrying import FOREVER, SERVER_ERROR_RETRY_SECONDS, StoreError, retryable_seconds

ROUTE = "/api/2.0/mlflow-artifacts/artifacts"  # of an MLflow server that serves artifacts
# Remedies by S3's error code.
ADVICE = {
    "NoSuchBucket": "the bucket does not exist: ask the server's administrator",
    "ExpiredToken": "the credentials have expired: renew them",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    **dict.fromkeys(
        ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "Forbidden"),
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, or ask the store's owner for access",
    ),
}
MISSING_CODES = ("NoSuchKey", "404")
# A healthy store is overloaded; some stores give these codes with a status of 400.
RETRYABLE_CODES = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable")
_CONNECTION_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)


class ArtifactMissing(UserError):
    """The store has no such artifact."""


def classify_error(error: BaseException, store: ArtifactRepository, path: str) -> BaseException:
    """Classifies what a store raised.

    Returns:
        `StoreError`, which says for how long a retry makes sense, `ArtifactMissing`, or the error itself where it is
        an error of this machine (a full disk) or of no store.
    """
    if isinstance(error, (StoreError, UserError)):
        return error
    causes = _causes(error)
    for each in causes:
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):
            return _classify_s3(response, path)
        if isinstance(each, requests.HTTPError) and response is not None:
            return _classify_server(response.status_code, _message(response), path)
    is_server = isinstance(store, HttpArtifactRepository)
    if any(map(_is_connection_error, causes)):
        # A server that refuses a large upload closes the connection; a short request has an answer.
        return (_probe(store, path) if is_server else None) or StoreError(one_line(error), FOREVER)
    if is_server and "too many 5" in str(error):
        return _probe(store, path) or StoreError(one_line(error), SERVER_ERROR_RETRY_SECONDS)
    if isinstance(error, OSError):
        return error
    seconds = retryable_seconds(error)
    if not seconds and type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return StoreError(f"{one_line(error)}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", 0.0)
    return StoreError(one_line(error), seconds)


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and its causes, once each: an error that is raised again from itself is its own cause."""
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _is_connection_error(error: BaseException) -> bool:
    if isinstance(error, _CONNECTION_ERRORS):
        return True
    if type(error).__module__ != "botocore.exceptions":
        return False
    from botocore import exceptions  # 0.1 s, which only commands that use S3 need

    return isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError))


def _classify_s3(response: Mapping[str, Any], path: str) -> BaseException:
    error = response.get("Error", {})
    code, status = str(error.get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"the S3 server responds with {status} {code} ({error.get('Message', '') or 'no reason given'})"
    if code in MISSING_CODES:
        return ArtifactMissing(f"the store has no {path}")
    if status >= 500 or status == 429 or code in RETRYABLE_CODES:
        return StoreError(text, FOREVER)
    advice = ADVICE.get(code)
    return StoreError(f"{text}{f'; {advice}' if advice else ''}", 0.0)


def _classify_server(status: int, message: str, path: str) -> BaseException:
    text = f"the tracking server responds with {status} ({message})"
    # boto3's message, where the server passes an error of its own store on.
    found = re.search(r"An error occurred \((\w+)\)", message)
    code = found[1] if found else ""
    if status == 404 and message.startswith("Failed to list"):  # it lists a folder before it sends a file
        return StoreError(f"{text}: does its bucket exist?", 0.0)
    if code in MISSING_CODES or status == 404:
        return ArtifactMissing(f"the store has no {path}")
    if status in (429, 502, 503, 504) or code in RETRYABLE_CODES:
        return StoreError(text, FOREVER)
    if code in ADVICE or status < 500:
        return StoreError(f"{text}; ask its administrator whether it, and you, may use its artifact store", 0.0)
    return StoreError(f"{text}: its artifact store fails; the server's log has the reason", SERVER_ERROR_RETRY_SECONDS)


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason or "no reason given"


def _probe(store: ArtifactRepository, path: str) -> BaseException | None:
    """The error with which a tracking server refuses to list its store; None where it lists it, or does not respond."""
    server, _, below = store.artifact_uri.partition(ROUTE)
    try:
        response = get_once(server, ROUTE, {"path": below.strip("/")})
    except (MlflowException, requests.RequestException):
        return None
    with response:
        return None if response.ok else _classify_server(response.status_code, _message(response), path)


def get_once(
    server: str, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> requests.Response:
    """One GET request to an MLflow server without retries, whose body is streamed and not compressed."""
    response: requests.Response = http_request(
        get_default_host_creds(server),
        path,
        "GET",
        stream=True,
        params=params,
        # Bytes are counted as they are stored, and artifacts are compressed already.
        extra_headers={"Accept-Encoding": "identity", **(headers or {})},
        max_retries=0,
        raise_on_status=False,
    )
    return response
