"""Retries of calls to the tracking server, because MLflow's own retries give up within minutes, in silence.

Errors are classified by how long a retry makes sense: an outage passes, a refusal does not.
"""

from __future__ import annotations

import functools
import math
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import requests
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import one_line, shortened

T = TypeVar("T")
Notify = Callable[[str], None]

# What MLflow's client raises when its server or store fails.
TRACKING_ERRORS = (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError)
# An internal error of a reachable server may be a bug, which does not pass.
SERVER_ERROR_RETRY_SECONDS = 120.0
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.25, 15.0
FOREVER = math.inf
_CONNECTION_ERRORS = (requests.ConnectionError, requests.Timeout, ConnectionError, TimeoutError)
_UNAVAILABLE = ("429", "502", "503", "504")


class StoreError(Exception):
    """An error of a store that has been classified.

    Attributes:
        retryable_seconds: for how long a retry makes sense, 0 for a permanent error.
    """

    def __init__(self, message: str, retryable_seconds: float) -> None:
        super().__init__(message)
        self.retryable_seconds = retryable_seconds


def retryable_seconds(error: BaseException) -> float:
    """For how many seconds a retry makes sense after this error, 0 for a permanent one."""
    if isinstance(error, StoreError):
        return error.retryable_seconds
    cause = error.__cause__ or error.__context__
    if isinstance(error, requests.exceptions.RetryError) or isinstance(cause, requests.exceptions.RetryError):
        unavailable = any(f"too many {status} error" in str(error) for status in _UNAVAILABLE)
        return FOREVER if unavailable else SERVER_ERROR_RETRY_SECONDS
    if isinstance(error, _CONNECTION_ERRORS) or (
        isinstance(error, MlflowException) and isinstance(cause, _CONNECTION_ERRORS)
    ):
        return FOREVER
    if isinstance(error, sqlalchemy.exc.OperationalError):
        return FOREVER
    if isinstance(error, MlflowException):
        if error.error_code in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"):
            return FOREVER
        status = getattr(error, "get_http_status_code", lambda: 0)()
        # Errors that MLflow raises in the client also have the code of an internal error.
        return SERVER_ERROR_RETRY_SECONDS if "failed with error code 5" in str(error) and status >= 500 else 0.0
    return 0.0


def is_outage(error: BaseException) -> bool:
    """Whether this is a transient error of the server or the network."""
    return retryable_seconds(error) > 0


class Backoff:
    """Exponential delays between the retries of one call; the outage is reported once.

    Args:
        timeout: seconds after which retries end.
        notify: tells the user; None where somebody else does.
        service: what does not respond, for the message.
        progress: how far the call has come; the timeout starts again whenever this grows.
    """

    def __init__(
        self,
        timeout: float,
        notify: Notify | None = None,
        service: str = "the tracking server",
        progress: Callable[[], int] = int,
    ) -> None:
        self._timeout = timeout
        self._notify = notify
        self._service = service
        self._progress, self._done = progress, progress()
        self._started = 0.0
        self._delay = 0.0

    def next_delay(self, error: BaseException) -> float | None:
        """Seconds to wait before the next attempt, None where no retry makes sense."""
        now = time.monotonic()
        if (done := self._progress()) > self._done:
            self._done, self._started = done, 0.0
        if not self._started:
            self._started, self._delay = now, FIRST_DELAY_SECONDS
        elif self._delay < MAX_DELAY_SECONDS:
            self._delay *= 2
        if now - self._started >= min(self._timeout, retryable_seconds(error)):
            return None
        # One failed retry distinguishes an outage from a hiccup.
        if self._notify is not None and self._delay >= 4 * FIRST_DELAY_SECONDS:
            self._notify(
                f"{self._service} does not respond ({shortened(one_line(error), 120)}); retrying. Nothing is lost, and "
                "after Ctrl-C the same command resumes"
            )
            self._notify = None
        # Jitter: many workers must not come back at the same moment.
        return min(self._delay, MAX_DELAY_SECONDS) * random.uniform(0.7, 1.3)


def retry(
    method: Callable[[], T], backoff: Backoff, errors: type[Exception] | tuple[type[Exception], ...] = TRACKING_ERRORS
) -> T:
    """Calls `method` and retries it on transient errors.

    Args:
        errors: which errors may be transient; others are raised at once.

    Raises:
        Exception: the last error, where it is permanent or the timeout has passed.
    """
    while True:
        try:
            return method()
        except errors as error:
            delay = backoff.next_delay(error)
            if delay is None:
                raise
            time.sleep(delay)


class RetryingClient:
    """An MLflow client whose calls are retried on transient errors.

    Args:
        client: the client that makes the calls.
        timeout: seconds after which the error of an outage is raised.
        notify: tells the user that an outage has begun or ended.
    """

    def __init__(self, client: MlflowClient, timeout: float, notify: Notify) -> None:
        self.client = client
        self.timeout = timeout
        self._notify = notify
        self._lock = threading.Lock()
        self._in_outage = False

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.client, name)
        return functools.partial(self.call_with_retry, attribute) if callable(attribute) else attribute

    def report_outage(self, message: str) -> None:
        """Tells the user of an outage, once until it ends."""
        with self._lock:
            reported, self._in_outage = self._in_outage, True
        if not reported:
            self._notify(message)

    def call_with_retry(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Retries `method`, which may be one of the client's or any other that asks the server."""
        result = retry(functools.partial(method, *args, **kwargs), Backoff(self.timeout, self.report_outage))
        if self._in_outage:
            with self._lock:
                recovered, self._in_outage = self._in_outage, False
            if recovered:
                self._notify("the tracking server responds again")
        return result


def with_retries(client: MlflowClient, timeout: float, notify: Notify | None = None) -> MlflowClient:
    """The client with retries, see `RetryingClient`."""
    return cast(MlflowClient, RetryingClient(without_retries(client), timeout, notify or print_notice))


def without_retries(client: MlflowClient) -> MlflowClient:
    """The client without retries, for threads that have their own."""
    return client.client if isinstance(client, RetryingClient) else client


def call_with_retry(client: MlflowClient, method: Callable[..., T], *args: Any) -> T:
    """Calls what asks the client's server, with the client's retries."""
    if isinstance(client, RetryingClient):
        return cast(T, client.call_with_retry(method, *args))
    return method(*args)


def retry_timeout_of(client: MlflowClient) -> float:
    """For how many seconds the client retries."""
    return client.timeout if isinstance(client, RetryingClient) else 0.0


def on_outage(client: MlflowClient) -> Notify | None:
    """The callback that reports an outage, for threads with retries of their own; None for a client without retries."""
    return client.report_outage if isinstance(client, RetryingClient) else None


def print_notice(message: str) -> None:
    """Prints a message to stderr at once."""
    print(message, file=sys.stderr, flush=True)
