"""The exit status and the one line on stderr are all that a user sees of a failure, so both are pinned."""

from __future__ import annotations

import pytest

from proxyflow.core.errors import (
    InvalidValue,
    NotFound,
    ProxyflowError,
    Terminated,
    TrackingUnavailable,
    TrainingFailed,
    UnknownName,
    UserError,
    one_line,
    printable,
    shortened,
)


@pytest.mark.parametrize("kind", [UserError, NotFound, TrackingUnavailable])
def test_a_wrong_request_ends_with_status_2(kind: type[ProxyflowError]) -> None:
    assert kind("x").exit_status == 2


def test_invalid_values_and_unknown_names_are_wrong_requests() -> None:
    assert InvalidValue("epochs", 0, "it must be at least 1").exit_status == 2
    assert UnknownName("dataset", "x", ["digits"]).exit_status == 2


def test_failed_work_ends_with_status_1_and_is_no_wrong_request() -> None:
    assert TrainingFailed("x").exit_status == 1
    assert not issubclass(TrainingFailed, UserError)


def test_the_message_of_an_invalid_value_has_name_value_and_rule() -> None:
    error = InvalidValue("learning_rate", "-1", "it must be a number above 0")
    assert str(error) == "learning_rate=-1 is not accepted: it must be a number above 0"
    assert (error.name, error.value, error.rule) == ("learning_rate", "-1", "it must be a number above 0")


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_closest() -> None:
    message = str(UnknownName("strategy", "easyest", ["full", "easiest", "hardest"]))
    assert "strategy=easyest" in message
    assert "did you mean easiest?" in message
    assert "full, easiest, hardest" in message


def test_an_unknown_name_like_no_other_gets_no_suggestion() -> None:
    message = str(UnknownName("strategy", "qqq", ["full"]))
    assert "did you mean" not in message
    assert "full" in message


def test_termination_passes_handlers_of_ordinary_exceptions() -> None:
    def retry_loop() -> str:
        try:
            raise Terminated
        except Exception:
            return "swallowed"

    with pytest.raises(Terminated):
        retry_loop()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  two\t three"), "one two three"),
        (ValueError(""), "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_a_message_is_brought_to_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("API request to https://me:s3cret@host/mlflow/api failed", "API request to https://host/mlflow/api failed"),
        ("postgresql://me:p@ss@host:5432/runs is gone", "postgresql://host:5432/runs is gone"),
        ("postgresql://me:12/ab@host/runs?sslmode=x is gone", "postgresql://host/runs?sslmode=x is gone"),
        ("(postgresql://me:p@ss/w?o#rd@host/runs)", "(postgresql://host/runs)"),
        ("https://me:p/ss@host/mlflow", "https://host/mlflow"),
        ("http://host:5000/digits@400 stays", "http://host:5000/digits@400 stays"),
        ("sqlite:////tmp/a:b@c.db?x=1 stays", "sqlite:////tmp/a:b@c.db?x=1 stays"),
        ("mysql://host/runs?user=me&password=s3cret&x=1", "mysql://host/runs?user=me&password=***&x=1"),
        (
            "'https://s3/bucket/x?X-Amz-Credential=me&X-Amz-Signature=s3cret&x-id=1' failed",
            "'https://s3/bucket/x?X-Amz-Credential=***&X-Amz-Signature=***&x-id=1' failed",
        ),
        ("https://host/users/@me?mail=a@b stays", "https://host/users/@me?mail=a@b stays"),
    ],
)
def test_a_message_never_tells_a_password(told: str, shown: str) -> None:
    assert one_line(ValueError(told)) == shown


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert printable("a\x1b[2J\n\x07\u202e\u2028\ud800\x9b") == r"a\x1b[2J\n\x07\u202e\u2028\ud800\x9b"
    assert printable("Käse 数据 👩\u200d🔬 <b>") == "Käse 数据 👩\u200d🔬 <b>"
    assert one_line(UserError("a\x1b[2J\nb")) == r"a\x1b[2J b"
    assert str(InvalidValue("seed", "\x1b\n", "no")) == r"seed=\x1b\n is not accepted: no"


def test_long_values_are_not_quoted_whole() -> None:
    assert shortened("abcdef", 5) == "ab..."
    assert shortened("abcde", 5) == "abcde"
    assert len(str(InvalidValue("seed", "9" * 10_000, "no"))) < 300
