"""A tracking server's REST API as plain JSON, because MLflow's client has no call for many metric histories at once.

It also converts each response to protocol buffers and then to objects, which takes ten times as long as reading it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response


def is_http(client: MlflowClient) -> bool:
    """Whether the client's store is an MLflow server over HTTP."""
    return urlsplit(client.tracking_uri).scheme in ("http", "https")


def request(client: MlflowClient, method: str, path: str, **message: Any) -> requests.Response:
    """One request with the credentials, certificates, time limit and retries of MLflow's own.

    Args:
        path: below the server's address, `/api/2.0/mlflow/…`.
        message: `params` or `json`, as in requests.

    Returns:
        The response, which may be a refusal: see `json_object`.

    Raises:
        MlflowException: the server did not respond, or only with transient errors.
    """
    response: requests.Response = http_request(get_default_host_creds(client.tracking_uri), path, method, **message)
    return response


def json_object(response: requests.Response, path: str) -> dict[str, Any]:
    """The JSON object of a response.

    Raises:
        MlflowException: it is a refusal, or no JSON object.
    """
    content: dict[str, Any] = verify_rest_response(response, path).json()
    return content
