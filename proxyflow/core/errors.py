"""The error hierarchy: the type of an error alone decides the exit status.

`UserError` (status 2) means that the request or the input is wrong; its one-line message names the value, the rule and
the remedy. `TrainingFailed` (status 1) means that the work failed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

ESCAPING = "in a user's name or password write @ as %40, : as %3A, / as %2F, [ as %5B and ] as %5D"
# `user:password@` of a URL: MLflow and others quote the whole URL that does not respond. A password may contain
# characters that should be percent-encoded; in a database URL it may even look like a port and a path.
CREDENTIALS = re.compile(
    r"(?<=://)(?:(?<!http://)(?<!https://)[^/?#\s:]*:\S*@|[^/?#\s]*@|[^/?#\s:]*:(?!\d*(?:[/?#\s]|$))\S*@)"
)
# Secrets in the query of a URL: of a database, or of a signed S3 link.
SECRETS = re.compile(
    r"(?i)([?&](?:[\w.-]*(?:password|passwd|pwd|secret|token|signature|credential)|x-amz-[\w-]+|awsaccesskeyid"
    r"|odbc_connect)=)[^&#\s'\")]+"
)
# Characters that move a terminal's cursor, end a line or change the text direction, and lone surrogates, which no file
# can hold.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
FEW_NAMES = 12  # are listed even where a close match is clear
LONGEST_VALUE = 200  # characters of a value that a message quotes


class ProxyflowError(Exception):
    """Base class of all errors that proxyflow raises; `exit_status` is the exit status of the process."""

    exit_status = 1


class UserError(ProxyflowError):
    """The request or the input is wrong; nothing has to be undone."""

    exit_status = 2


class InvalidValue(UserError):
    """A value that breaks a rule.

    Attributes:
        name: the name that the user knows (`learning_rate`, `strategy`).
        value: the value as given; empty if one is missing.
        rule: the rule that accepted values follow, and the remedy.
    """

    def __init__(self, name: str, value: object, rule: str) -> None:
        given = shortened(printable(str(value)))
        super().__init__(f"{name}={given} is not accepted: {rule}" if given else f"{name} is missing: {rule}")
        self.name = name
        self.value = value
        self.rule = rule


class UnknownName(InvalidValue):
    """An unknown name; the message lists the known ones."""

    def __init__(self, kind: str, value: object, known: Iterable[str]) -> None:
        names = list(known)
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = f"did you mean {close[0]}?" if close else ""
        listed = f"known: {', '.join(names)}" if not close or len(names) <= FEW_NAMES else ""
        super().__init__(kind, value, " ".join(filter(None, (hint, listed))))


class NotFound(UserError):
    """The requested name or id does not exist, or is of another kind."""


class TrackingUnavailable(UserError):
    """The tracking server did not respond in time."""


class NotAllowed(UserError):
    """The tracking server denies this user the request."""


class TrainingFailed(ProxyflowError):
    """A training, scoring or study could not be completed."""


class OutOfMemory(TrainingFailed):
    """A training needs more memory than its device has; retrying does not help."""


class StoreFailed(ProxyflowError):
    """The artifact store rejects a request or does not respond; a retry may succeed."""


class Terminated(BaseException):
    """The process received SIGTERM. Like KeyboardInterrupt, it is not caught by `except Exception`."""


def printable(text: str) -> str:
    """The text with control characters escaped: an escape character becomes the four letters `\\x1b`."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(text: str, longest: int = LONGEST_VALUE) -> str:
    """The text, truncated with three dots if it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def one_line(error: BaseException) -> str:
    """The error's message on one line without credentials; the name of its type if it has no message."""
    text = printable(without_credentials(" ".join(str(error).split())))
    return text or type(error).__name__


def without_credentials(text: str) -> str:
    """The text without the credentials of URLs in it."""
    return SECRETS.sub(r"\1***", CREDENTIALS.sub("", text))
