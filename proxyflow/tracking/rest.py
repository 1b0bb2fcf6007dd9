"""A tracking server's REST API as plain JSON: MLflow's client has no call for many curves at once, and turns each
answer into protocol buffers and then objects, which takes ten times as long as to read it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response


def is_server(client: MlflowClient) -> bool:
    """Whether the client's store is an MLflow server over HTTP, which other ways to reach it do not go around."""
    return urlsplit(client.tracking_uri).scheme in ("http", "https")


def ask(client: MlflowClient, method: str, path: str, **message: Any) -> requests.Response:
    """One request with the credentials, certificates, time limit and retries of MLflow's own.

    Args:
        path: behind the server's address, `/api/2.0/mlflow/…`.
        message: `params` or `json`, as requests takes them.

    Returns:
        The answer, which may be a refusal: see `content`.

    Raises:
        MlflowException: the server did not answer, or again and again with an error that passes.
    """
    answer: requests.Response = http_request(get_default_host_creds(client.tracking_uri), path, method, **message)
    return answer


def content(answer: requests.Response, path: str) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        MlflowException: it is a refusal, or no JSON object.
    """
    told: dict[str, Any] = verify_rest_response(answer, path).json()
    return told
