"""Transient errors are retried for as long as makes sense; permanent ones are raised at once."""

from __future__ import annotations

from typing import Any, cast

import pytest
import requests
import sqlalchemy
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    REQUEST_LIMIT_EXCEEDED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from proxyflow.tracking.delivery import retrying
from proxyflow.tracking.delivery.retrying import (
    FOREVER,
    SERVER_ERROR_RETRY_SECONDS,
    RetryingClient,
    is_outage,
    retry_timeout_of,
    retryable_seconds,
    without_retries,
)

Tracker = Any


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


SERVER_ERROR = "API request to endpoint /api failed with error code 500 != 200"
RETRIES = "Max retries exceeded with url: /api (Caused by ResponseError('too many {} error responses'))"
LOCKED = sqlalchemy.exc.OperationalError("select", {}, Exception("database is locked"))


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (requests.ConnectionError("refused"), FOREVER),
        (requests.ReadTimeout("slow"), FOREVER),
        (caused(MlflowException("no answer"), requests.ConnectionError("refused")), FOREVER),
        (caused(MlflowException("no answer"), ConnectionResetError("reset")), FOREVER),
        (MlflowException("database is locked", TEMPORARILY_UNAVAILABLE), FOREVER),
        (MlflowException("slower, please", REQUEST_LIMIT_EXCEEDED), FOREVER),
        (LOCKED, FOREVER),
        (caused(MlflowException("x"), requests.exceptions.RetryError(RETRIES.format(503))), SERVER_ERROR_RETRY_SECONDS),
        (requests.exceptions.RetryError(RETRIES.format(503)), FOREVER),
        (requests.exceptions.RetryError(RETRIES.format(500)), SERVER_ERROR_RETRY_SECONDS),
        (MlflowException(SERVER_ERROR), SERVER_ERROR_RETRY_SECONDS),
        (MlflowException("cannot read the model"), 0),
        (MlflowException("no such run", RESOURCE_DOES_NOT_EXIST), 0),
        (MlflowException("too long", INVALID_PARAMETER_VALUE), 0),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "not yours"}), 0),
        (MlflowException("not yours", PERMISSION_DENIED), 0),
        (sqlalchemy.exc.IntegrityError("insert", {}, Exception("twice")), 0),
        (PermissionError("not yours"), 0),
        (KeyError("x"), 0),
    ],
    ids=lambda value: f"{type(value).__name__} {value}"[:60] if isinstance(value, BaseException) else str(value),
)
def test_transient_errors_are_distinguished_from_permanent_ones(error: BaseException, seconds: float) -> None:
    assert retryable_seconds(error) == seconds
    assert is_outage(error) is (seconds > 0)


class Flaky:
    """A client whose calls raise what is given, one after the other, and then work."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[tuple[str, int]] = []
        self.tracking_uri = "somewhere"

    def set_tag(self, key: str, value: int) -> str:
        self.calls.append((key, value))
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made; the clock goes on by them."""
    made: list[float] = []

    class Clock:
        def monotonic(self) -> float:
            return 100 + sum(made)

        def sleep(self, seconds: float) -> None:
            made.append(seconds)

    monkeypatch.setattr(retrying, "time", Clock())
    return made


def gone(times: int) -> list[Exception]:
    return [requests.ConnectionError("refused") for _ in range(times)]


def test_a_call_is_retried_until_the_server_is_back_and_both_are_reported_once(pauses: list[float]) -> None:
    said: list[str] = []
    flaky = Flaky(*gone(12))
    client: Tracker = RetryingClient(cast(Any, flaky), FOREVER, said.append)
    assert client.set_tag("a", value=1) == "done"
    assert flaky.calls == [("a", 1)] * 13
    assert len(said) == 2
    assert "(refused)" in said[0]
    assert "refused" not in said[1]
    assert pauses[0] < 1
    assert 10 < pauses[-1] < 20


def test_a_hiccup_is_not_reported(pauses: list[float]) -> None:
    said: list[str] = []
    client: Tracker = RetryingClient(cast(Any, Flaky(*gone(1))), FOREVER, said.append)
    assert client.set_tag("a", 1) == "done"
    assert said == []


def test_each_outage_and_its_end_are_reported(pauses: list[float]) -> None:
    said: list[str] = []
    flaky = Flaky(*gone(5))
    client: Tracker = RetryingClient(cast(Any, flaky), FOREVER, said.append)
    client.set_tag("a", 1)
    flaky.errors = gone(5)
    client.set_tag("a", 1)
    assert ["responds again" in text for text in said] == [False, True, False, True]


def test_retries_end_after_the_timeout(pauses: list[float]) -> None:
    client: Tracker = RetryingClient(cast(Any, Flaky(*gone(1000))), 60.0, lambda text: None)
    with pytest.raises(requests.ConnectionError):
        client.set_tag("a", 1)
    assert 60 <= sum(pauses) < 85


def test_an_internal_error_of_the_server_is_retried_for_two_minutes_at_most(pauses: list[float]) -> None:
    errors = [MlflowException(SERVER_ERROR) for _ in range(1000)]
    client: Tracker = RetryingClient(cast(Any, Flaky(*errors)), FOREVER, lambda text: None)
    with pytest.raises(MlflowException):
        client.set_tag("a", 1)
    assert SERVER_ERROR_RETRY_SECONDS <= sum(pauses) < SERVER_ERROR_RETRY_SECONDS + 25


def test_a_refusal_is_raised_at_once(pauses: list[float]) -> None:
    client: Tracker = RetryingClient(
        cast(Any, Flaky(MlflowException("no", PERMISSION_DENIED))), FOREVER, lambda text: None
    )
    with pytest.raises(MlflowException, match=r"no"):
        client.set_tag("a", 1)
    assert pauses == []


def test_attributes_are_passed_through_and_the_client_without_retries_is_available() -> None:
    flaky = Flaky()
    client: Tracker = RetryingClient(cast(Any, flaky), 7.0, lambda text: None)
    assert client.tracking_uri == "somewhere"
    assert without_retries(client) is cast(Any, flaky)
    assert without_retries(cast(Any, flaky)) is cast(Any, flaky)
    assert retry_timeout_of(client) == 7
    assert retry_timeout_of(cast(Any, flaky)) == 0
