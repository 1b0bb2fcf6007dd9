"""One hierarchy of errors, because the exit status that a user sees is decided by the kind alone.

`UserError` (exit 2) means that the request or the input is wrong; its message is one line that names
the value, the rule and what would be accepted. `TrainingFailed` (exit 1) means that the work failed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

ESCAPING = "in a user's name or password write @ as %40, : as %3A, / as %2F, [ as %5B and ] as %5D"
# `user:password@` of an address: MLflow and others name the whole address that does not answer. A password may hold
# what should have been written with percent signs; in a database's address it may even look like a port and a path.
CREDENTIALS = re.compile(
    r"(?<=://)(?:(?<!http://)(?<!https://)[^/?#\s:]*:\S*@|[^/?#\s]*@|[^/?#\s:]*:(?!\d*(?:[/?#\s]|$))\S*@)"
)
# Those that are in an address's query: of a database, or of a link to S3 that is signed.
SECRETS = re.compile(
    r"(?i)([?&](?:[\w.-]*(?:password|passwd|pwd|secret|token|signature|credential)|x-amz-[\w-]+|awsaccesskeyid"
    r"|odbc_connect)=)[^&#\s'\")]+"
)
# What text from others may do to a terminal or a table: move its cursor, end its line, turn its direction around; and
# halves of surrogate pairs, which no file can hold.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_VALUE = 200  # of a value that is quoted in a message


class ProxyflowError(Exception):
    """Anything proxyflow raises on purpose; `exit_status` is what the process ends with."""

    exit_status = 1


class UserError(ProxyflowError):
    """The request or the input is wrong; nothing was begun that has to be undone."""

    exit_status = 2


class InvalidValue(UserError):
    """A value that breaks a rule.

    Args:
        name: what the value is for, as the user knows it (`learning_rate`, `strategy`).
        value: the offending value as given.
        rule: what holds for every accepted value, and how to get one.
    """

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(f"{name}={shortened(printable(str(value)))} is not accepted: {rule}")
        self.name = name
        self.value = value
        self.rule = rule


class UnknownName(InvalidValue):
    """A name that no plug-in of that kind carries; the message lists those that exist."""

    def __init__(self, kind: str, value: object, known: Iterable[str]) -> None:
        names = list(known)
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        super().__init__(kind, value, f"{hint}known are {', '.join(names)}")


class NotFound(UserError):
    """Something that was asked for by name or id does not exist, or is of another kind."""


class TrackingUnavailable(UserError):
    """The tracking server could not be reached in the stated time."""


class NotAllowed(UserError):
    """The tracking server does not let this user do what was asked for."""


class TrainingFailed(ProxyflowError):
    """A training, scoring or study could not be completed."""


class OutOfMemory(TrainingFailed):
    """A training needs more memory than its device has; to try it again would change nothing."""


class StoreFailed(ProxyflowError):
    """The store of artifacts refuses, or does not answer; it may at the next try."""


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt it must pass every `except Exception`."""


def printable(text: str) -> str:
    """The text with what a terminal would obey written out: an escape character becomes the four letters `\\x1b`."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(text: str, longest: int = LONGEST_VALUE) -> str:
    """The text, or its beginning and three dots where it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def one_line(error: BaseException) -> str:
    """The error's message on one line without the credentials of an address, or its type's name where it has none."""
    text = printable(without_credentials(" ".join(str(error).split())))
    return text or type(error).__name__


def without_credentials(text: str) -> str:
    """The text without the credentials that addresses in it carry."""
    return SECRETS.sub(r"\1***", CREDENTIALS.sub("", text))
