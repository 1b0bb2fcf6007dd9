"""An outage passes and is waited for; a refusal stays, and no waiting mends it."""

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

from proxyflow.tracking import outages
from proxyflow.tracking.outages import (
    FOREVER,
    PATIENCE_WITH_ERRORS,
    Patient,
    how_long_to_wait,
    impatient,
    is_outage,
    patience_of,
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
        (caused(MlflowException("x"), requests.exceptions.RetryError(RETRIES.format(503))), PATIENCE_WITH_ERRORS),
        (requests.exceptions.RetryError(RETRIES.format(503)), FOREVER),
        (requests.exceptions.RetryError(RETRIES.format(500)), PATIENCE_WITH_ERRORS),
        (MlflowException(SERVER_ERROR), PATIENCE_WITH_ERRORS),
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
def test_errors_that_pass_are_told_from_errors_that_stay(error: BaseException, seconds: float) -> None:
    assert how_long_to_wait(error) == seconds
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

    monkeypatch.setattr(outages, "time", Clock())
    return made


def gone(times: int) -> list[Exception]:
    return [requests.ConnectionError("refused") for _ in range(times)]


def test_a_call_is_made_again_until_the_server_is_back_and_both_are_told_once(pauses: list[float]) -> None:
    said: list[str] = []
    flaky = Flaky(*gone(12))
    client: Tracker = Patient(cast(Any, flaky), FOREVER, said.append)
    assert client.set_tag("a", value=1) == "done"
    assert flaky.calls == [("a", 1)] * 13
    assert len(said) == 2
    assert said[0].startswith("the tracking server does not answer (refused); waiting for it: nothing is lost")
    assert said[1] == "the tracking server answers again"
    assert pauses[0] < 1
    assert 10 < pauses[-1] < 20


def test_a_hiccup_is_not_told(pauses: list[float]) -> None:
    said: list[str] = []
    client: Tracker = Patient(cast(Any, Flaky(*gone(1))), FOREVER, said.append)
    assert client.set_tag("a", 1) == "done"
    assert said == []


def test_each_outage_is_told_and_so_is_its_end(pauses: list[float]) -> None:
    said: list[str] = []
    flaky = Flaky(*gone(5))
    client: Tracker = Patient(cast(Any, flaky), FOREVER, said.append)
    client.set_tag("a", 1)
    flaky.errors = gone(5)
    client.set_tag("a", 1)
    assert ["answers again" in text for text in said] == [False, True, False, True]


def test_patience_ends(pauses: list[float]) -> None:
    client: Tracker = Patient(cast(Any, Flaky(*gone(1000))), 60.0, lambda text: None)
    with pytest.raises(requests.ConnectionError):
        client.set_tag("a", 1)
    assert 60 <= sum(pauses) < 85


def test_an_error_inside_a_server_is_waited_for_two_minutes_however_patient_one_is(pauses: list[float]) -> None:
    errors = [MlflowException(SERVER_ERROR) for _ in range(1000)]
    client: Tracker = Patient(cast(Any, Flaky(*errors)), FOREVER, lambda text: None)
    with pytest.raises(MlflowException):
        client.set_tag("a", 1)
    assert PATIENCE_WITH_ERRORS <= sum(pauses) < PATIENCE_WITH_ERRORS + 25


def test_a_refusal_is_raised_at_once(pauses: list[float]) -> None:
    client: Tracker = Patient(cast(Any, Flaky(MlflowException("no", PERMISSION_DENIED))), FOREVER, lambda text: None)
    with pytest.raises(MlflowException, match=r"no"):
        client.set_tag("a", 1)
    assert pauses == []


def test_what_is_no_call_is_passed_through_and_the_client_below_is_to_be_had() -> None:
    flaky = Flaky()
    client: Tracker = Patient(cast(Any, flaky), 7.0, lambda text: None)
    assert client.tracking_uri == "somewhere"
    assert impatient(client) is cast(Any, flaky)
    assert impatient(cast(Any, flaky)) is cast(Any, flaky)
    assert patience_of(client) == 7
    assert patience_of(cast(Any, flaky)) == 0
