"""Outlasting a tracking server that goes away: which errors are an outage, and a client that waits for its end."""

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

from proxyflow.errors import one_line

T = TypeVar("T")

# What a server or store that goes away in mid-work raises.
OUTAGES = (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError)
# An error inside a server that works otherwise may be a bug, which no waiting mends.
PATIENCE_WITH_ERRORS = 120.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 15.0
FOREVER = math.inf
_GONE = (requests.ConnectionError, requests.Timeout, ConnectionError, TimeoutError)
_LATER = ("429", "502", "503", "504")


class KnownTrouble(Exception):
    """An error whose kind has been told.

    Attributes:
        worth_waiting: for how many seconds it makes sense to try again, 0 for one that will stay.
    """

    def __init__(self, told: str, worth_waiting: float) -> None:
        super().__init__(told)
        self.worth_waiting = worth_waiting


def how_long_to_wait(error: BaseException) -> float:
    """For how many seconds it makes sense to try again after this error: 0 for one that will stay."""
    if isinstance(error, KnownTrouble):
        return error.worth_waiting
    cause = error.__cause__ or error.__context__
    if isinstance(error, requests.exceptions.RetryError) or isinstance(cause, requests.exceptions.RetryError):
        told = str(error)
        return FOREVER if any(f"too many {status} error" in told for status in _LATER) else PATIENCE_WITH_ERRORS
    if isinstance(error, _GONE) or (isinstance(error, MlflowException) and isinstance(cause, _GONE)):
        return FOREVER
    if isinstance(error, sqlalchemy.exc.OperationalError):
        return FOREVER
    if isinstance(error, MlflowException):
        if error.error_code in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"):
            return FOREVER
        status = getattr(error, "get_http_status_code", lambda: 0)()
        # Errors that MLflow raises on this side carry the code of an internal error, too.
        return PATIENCE_WITH_ERRORS if "failed with error code 5" in str(error) and status >= 500 else 0.0
    return 0.0


def is_outage(error: BaseException) -> bool:
    """Whether this is the server's or the network's trouble, which passes."""
    return how_long_to_wait(error) > 0


class Waiting:
    """The pauses of one call that is tried again: longer each time, told of once.

    Args:
        patience: seconds after which an outage is given up.
        say: tells the user, None where somebody else does.
        who: what does not answer.
    """

    def __init__(
        self, patience: float, say: Callable[[str], None] | None = None, who: str = "the tracking server"
    ) -> None:
        self.patience = patience
        self._who = who
        self._say = say
        self._begun = 0.0
        self._pause = 0.0

    def pause_after(self, error: BaseException) -> float | None:
        """How long to wait before the next try, in seconds, or None where there should be none."""
        now = time.monotonic()
        if not self._begun:
            self._begun, self._pause = now, FIRST_WAIT_SECONDS
        elif self._pause < LONGEST_WAIT_SECONDS:
            self._pause *= 2
        if now - self._begun >= min(self.patience, how_long_to_wait(error)):
            return None
        # The second try tells an outage from a hiccup.
        if self._say is not None and self._pause >= 4 * FIRST_WAIT_SECONDS:
            self._say(
                f"{self._who} does not answer ({_short(error)}); waiting for it: nothing is lost, and after "
                "Ctrl-C the same command resumes"
            )
            self._say = None
        # Many workers must not come back in one moment.
        return min(self._pause, LONGEST_WAIT_SECONDS) * random.uniform(0.7, 1.3)


def _short(error: BaseException, longest: int = 120) -> str:
    text = one_line(error)
    return text if len(text) <= longest else f"{text[:longest]}…"


class Patient:
    """Stands for an MLflow client; each call that meets an outage is made again until it passes.

    Args:
        client: whose methods are called.
        patience: seconds that one outage may last; then its error is raised.
        say: tells the user that an outage has begun or ended.
    """

    def __init__(self, client: MlflowClient, patience: float, say: Callable[[str], None]) -> None:
        self.once = client
        self.patience = patience
        self._say = say
        self._lock = threading.Lock()
        self._away = False

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.once, name)
        return functools.partial(self.insist, attribute) if callable(attribute) else attribute

    def tell(self, text: str) -> None:
        """Tells of an outage, once until it is over."""
        with self._lock:
            known, self._away = self._away, True
        if not known:
            self._say(text)

    def insist(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `method` until it meets no outage, whether it is one of the client's or asks the server otherwise."""
        waiting = Waiting(self.patience, self.tell)
        while True:
            try:
                result = method(*args, **kwargs)
            except OUTAGES as error:
                pause = waiting.pause_after(error)
                if pause is None:
                    raise
                time.sleep(pause)
                continue
            if self._away:
                with self._lock:
                    back, self._away = self._away, False
                if back:
                    self._say("the tracking server answers again")
            return result


def patient(client: MlflowClient, patience: float, say: Callable[[str], None] | None = None) -> MlflowClient:
    """A client that outlasts outages, see `Patient`."""
    return cast(MlflowClient, Patient(impatient(client), patience, say or _on_stderr))


def impatient(client: MlflowClient) -> MlflowClient:
    """The client whose calls fail at once, for threads that wait on their own."""
    return client.once if isinstance(client, Patient) else client


def insist(client: MlflowClient, method: Callable[..., T], *args: Any) -> T:
    """Calls what asks the client's server with the client's patience."""
    if isinstance(client, Patient):
        return cast(T, client.insist(method, *args))
    return method(*args)


def patience_of(client: MlflowClient) -> float:
    """How many seconds of outage the client outlasts."""
    return client.patience if isinstance(client, Patient) else 0.0


def teller(client: MlflowClient) -> Callable[[str], None] | None:
    """What tells of an outage for threads that wait on their own, None where nobody does."""
    return client.tell if isinstance(client, Patient) else None


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
