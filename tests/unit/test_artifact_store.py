"""Which stores are talked to, and what their errors come to."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import UserError
from proxyflow.tracking.artifacts.store import HOSTS_VARIABLE, open_repository
from proxyflow.tracking.artifacts.store_errors import ArtifactMissing, classify_error
from proxyflow.tracking.delivery.retrying import FOREVER, RetryingClient, StoreError, with_retries, without_retries
from proxyflow.tracking.runs.models import log_model
from proxyflow.tracking.runs.run import Run


@dataclass
class Client:
    """An MLflow client of one run whose experiment was made by anybody."""

    artifact_uri: str
    tracking_uri: str = "http://ada:pass@mlflow.example.org:5000"

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=self.artifact_uri))

    def get_logged_model(self, model_id: str) -> Any:
        return SimpleNamespace(artifact_location=self.artifact_uri)


def client(artifact_uri: str) -> MlflowClient:
    return with_retries(cast(MlflowClient, Client(artifact_uri)), 1.0, lambda text: None)


@pytest.mark.parametrize("owner", ["a", "m-a"])
@pytest.mark.parametrize(
    "uri",
    [
        "http://evil.example.com/api/2.0/mlflow-artifacts/artifacts/1/a/artifacts",
        "mlflow-artifacts://evil.example.com/1/a/artifacts",
        "mlflow-artifacts://evil.example.com:5000/1/a/artifacts",
        "mlflow-artifacts://mlflow.example.org:5001/1/a/artifacts",
    ],
)
def test_no_password_goes_to_a_server_that_an_experiment_names(
    uri: str, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=HOSTS_VARIABLE):
        open_repository(client(uri), owner)
    with pytest.raises(UserError, match=HOSTS_VARIABLE):  # and the client can make nothing there
        log_model(cast(Run, SimpleNamespace(client=client(uri), id="a")), cast(Any, None), (1, 8, 8), 8, {})
    host = uri.split("/")[2]
    monkeypatch.setenv(HOSTS_VARIABLE, f"other.example.org,{host}")
    assert host in open_repository(client(uri), owner).artifact_uri


@pytest.mark.parametrize(
    "uri", ["mlflow-artifacts:/1/a/artifacts", "s3://bucket/1/a/artifacts", "/shared/1/a/artifacts"]
)
def test_the_servers_own_and_those_without_its_password_are_talked_to(uri: str) -> None:
    assert open_repository(client(uri), "a") is not None


def of_s3(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject"
    )


S3 = get_artifact_repository("s3://bucket/1/a/artifacts")


@pytest.mark.parametrize(
    ("error", "worth_waiting", "told"),
    [
        (of_s3("SlowDown", 503), FOREVER, "503 SlowDown"),
        (of_s3("InternalError", 200), FOREVER, "InternalError"),
        (of_s3("TooManyRequests", 429), FOREVER, "429"),
        (of_s3("AccessDenied", 403), 0.0, "AWS_ACCESS_KEY_ID"),
        (of_s3("ExpiredToken", 400), 0.0, "renew them"),
        (of_s3("NoSuchBucket", 404), 0.0, "the bucket does not exist"),
        (of_s3("MalformedXML", 400), 0.0, "MalformedXML"),
        (EndpointConnectionError(endpoint_url="http://x"), FOREVER, "http://x"),
        (NoCredentialsError(), 0.0, "AWS_PROFILE"),
        (requests.ConnectionError("gone"), FOREVER, "gone"),
        (ConnectionResetError("cut"), FOREVER, "cut"),
    ],
)
def test_what_passes_is_told_from_what_stays(error: Exception, worth_waiting: float, told: str) -> None:
    trouble = classify_error(error, S3, "subset/manifest.json")
    assert isinstance(trouble, StoreError)
    assert trouble.retryable_seconds == worth_waiting
    assert told in str(trouble)


def test_an_error_below_another_is_found() -> None:
    failed = ValueError("upload failed")
    failed.__context__ = of_s3("ExpiredToken", 400)
    assert "renew them" in str(classify_error(failed, S3, "x"))


@pytest.mark.parametrize("code", ["NoSuchKey", "404"])
def test_what_is_not_there_is_absent(code: str) -> None:
    assert isinstance(classify_error(of_s3(code, 404), S3, "subset/x"), ArtifactMissing)


def test_an_error_of_this_machine_stays_itself_and_a_circle_of_causes_ends() -> None:
    full = OSError(28, "No space left on device")
    full.__cause__ = full
    assert classify_error(full, S3, "x") is full


def server_says(status: int, message: str) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    answer._content = f'{{"message": "{message}"}}'.encode()
    return requests.HTTPError("refused", response=answer)


SERVER = get_artifact_repository("mlflow-artifacts:/1/a/artifacts", tracking_uri="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("status", "message", "worth_waiting", "told"),
    [
        (503, "busy", FOREVER, "503 (busy)"),
        (500, "An error occurred (SlowDown) when calling", FOREVER, "SlowDown"),
        (500, "An error occurred (AccessDenied) when calling", 0.0, "administrator"),
        (403, "Permission denied", 0.0, "administrator"),
        (404, "Failed to list artifacts in s3://x", 0.0, "does its bucket exist?"),
        (500, "Internal Server Error", 120.0, "log"),
    ],
)
def test_a_servers_words_for_its_stores_trouble(status: int, message: str, worth_waiting: float, told: str) -> None:
    trouble = classify_error(server_says(status, message), SERVER, "x")
    assert isinstance(trouble, StoreError)
    assert trouble.retryable_seconds == worth_waiting
    assert told in str(trouble)


@pytest.mark.parametrize(("status", "message"), [(404, "No such artifact"), (500, "An error occurred (404) when")])
def test_a_servers_words_for_what_is_not_there(status: int, message: str) -> None:
    assert isinstance(classify_error(server_says(status, message), SERVER, "x"), ArtifactMissing)


def test_a_patient_client_is_looked_through() -> None:
    known = client("s3://bucket/x")
    assert isinstance(known, RetryingClient)
    assert isinstance(without_retries(known), Client)
