"""Commands are split as in a shell, but no value of a hyperparameter ever reaches one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.trainers.program.command import PLACEHOLDERS, Command, parse_command
from proxyflow.trainers.program.rules import CommandText, Duration
from proxyflow.trainers.user_code import Patterns

ODD = ["; rm -rf /", "$(id)", "`id`", "a b", "'", '"', "{lr}", "{{", "--help", "a\nb", "*", "\\", "", "ü", "-1"]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("program", ["p {x}", "p '{x}'", 'p "{x}"', ["p", "{x}"]])
def test_a_value_is_one_argument_whatever_is_in_it(value: str, program: Any) -> None:
    assert parse_command(program).fill({"x": value}) == ["p", value]


@given(st.text(), st.text())
def test_values_are_inserted_as_they_are(one: str, two: str) -> None:
    assert parse_command("p --a={a}:{b.c-d/e}").fill({"a": one, "b.c-d/e": two}) == ["p", f"--a={one}:{two}"]


@given(st.lists(st.text(st.characters(exclude_characters="{}")), min_size=1))
def test_a_list_of_words_means_what_its_text_means(words: list[str]) -> None:
    if not {"|", "&&", "||", ";", ">", "<", "&"} & set(words):
        command = parse_command(words)
        assert command.fill({}) == words == parse_command(command.text).fill({})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "0.001"), (1e-05, "1e-05"), (64, "64"), (True, "true"), (False, "false"), (0.1 + 0.2, repr(0.1 + 0.2))],
)
def test_numbers_are_written_as_programs_read_them(value: object, text: str) -> None:
    assert parse_command("p {x}").fill({"x": value}) == ["p", text]


@pytest.mark.parametrize(
    ("program", "filled"),
    [
        ("p --m {m} --lr {lr}", "p --lr 0.1"),
        ("p --m={m} --lr {lr}", "p --lr 0.1"),
        ("p -m {m}", "p"),
        ("p --pair {lr},{m} {lr}", "p 0.1"),
        ("p --pair {m},{lr}", "p"),
        ("p --verbose m={m} {lr}", "p --verbose 0.1"),
        ("mlflow run . -P m={m} -P lr={lr}", "mlflow run . -P lr=0.1"),
        ("p m={m} x", "p x"),
        ("p {m} x", "p x"),
        ("p --lr=1 {m}", "p --lr=1"),
        ("p --shift {shift} {m}", "p --shift -0.5"),
        ("p {shift} {m}", "p -0.5"),
        ("p --m {m} {m}", "p"),
    ],
)
def test_inactive_hyperparameters_are_left_out_with_their_options(program: str, filled: str) -> None:
    values = {"lr": 0.1, "shift": -0.5}
    assert parse_command(program).fill(values, inactive=["lr", "shift", "m"]) == filled.split()


def test_braces_that_are_doubled_stand_for_themselves() -> None:
    command = parse_command("""p '{{"lr": {lr}}}' {{x}}""")
    assert command.placeholders == {"lr"}
    assert command.fill({"lr": 0.1}) == ["p", '{"lr": 0.1}', "{x}"]


WRONG = [
    "", "  ", [], "p 'open", "p \\", "p {", "p }", "p {lr", "p {}", "p {0}", "p {lr:.2f}", "p {lr!r}", "p {lr[0]}",
    'p \'{"lr": 1}\'', "p | q", "p && q", "p || q", "p ; q", "p > f", "p < f", "p &",
]  # fmt: skip


@pytest.mark.parametrize("program", WRONG, ids=str)
def test_what_is_no_command_is_refused(program: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_command(program)
    assert caught.value.name == "program"
    assert "\n" not in str(caught.value)


def test_placeholders_are_checked_against_the_hyperparameters() -> None:
    command = parse_command("p {model.layers-1/size} {data} {epochs}")
    command.check(["model.layers-1/size"])
    with pytest.raises(UnknownName) as caught:
        command.check(["model.layers-1"])
    assert caught.value.value == "{model.layers-1/size}"


@pytest.mark.parametrize("name", sorted(PLACEHOLDERS))
def test_a_hyperparameter_cannot_have_the_name_of_a_placeholder(name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_command("p {lr}").check(["lr", name])
    assert (caught.value.name, caught.value.value) == ("hyperparameter", name)


def test_hyperparameters_that_are_not_mentioned() -> None:
    assert parse_command("p {a}").unused(["a", "b"]) == ["b"]
    assert parse_command("p {config}").unused(["a", "b"]) == []


def test_an_empty_command_is_the_option_that_is_not_given() -> None:
    assert CommandText().parse("program", "none") == CommandText().parse("program", " ") == ""


def test_a_very_long_command() -> None:
    words = [f"--x{number}={{x}}" for number in range(20_000)]
    command = Command("", ("p", *words))
    assert command.fill({"x": 1})[-1] == "--x19999=1"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), (" 30 M ", 1800), ("1d", 86400), (5, 5), (0.5, 0.5), ("1e3", 1000)],
)
def test_durations(text: object, seconds: float) -> None:
    assert Duration().parse("timeout", text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-5s", "nan", "inf", "1w", "1h30m", "s", True, None, "1 2"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        Duration().parse("timeout", text)
    assert (caught.value.name, caught.value.value) == ("timeout", text)


@pytest.mark.parametrize(
    ("value", "patterns"),
    [
        ("none", ()),
        ("", ()),
        ("a.py, b/*.yaml,,a.py", ("a.py", "b/*.yaml")),
        (["a, b.py", "c"], ("a, b.py", "c")),
        ((), ()),
    ],
)
def test_patterns(value: object, patterns: tuple[str, ...]) -> None:
    assert Patterns().parse("watch", value) == patterns
