"""Every option, YAML file and API call is checked by these rules, so a value they let pass reaches the training."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.core.settings import (
    Choice,
    Number,
    OptionalValue,
    Rule,
    check_keys,
    setting,
    settings_of,
    validate_settings,
)

ANY = Number()
FRACTION = Number(low=0, high=1, above=True, example="0.1")
SHARE = Number(low=0, high=1, below=True)
EPOCHS = Number(low=1, whole=True, example="20")


def refusal(rule: Rule, value: object) -> str:
    with pytest.raises(InvalidValue) as caught:
        rule.parse("the_setting", value)
    return str(caught.value)


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-inf", "infinity", math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rule", [ANY, FRACTION, EPOCHS])
def test_a_number_is_finite(rule: Number, value: object) -> None:
    assert refusal(rule, value).startswith("the_setting is missing: " if value == "" else f"the_setting={value} is not")


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("rule", [ANY, FRACTION, EPOCHS])
def test_a_truth_value_is_no_number(rule: Number, value: bool) -> None:
    assert refusal(rule, value).startswith("the_setting is missing: " if value == "" else f"the_setting={value} is not")


@pytest.mark.parametrize("value", ["abc", "", " ", "0,5", "1/2", "5%", None, [], {}, "0x10"])
@pytest.mark.parametrize("rule", [ANY, FRACTION, EPOCHS])
def test_what_is_no_number_is_refused(rule: Number, value: object) -> None:
    assert refusal(rule, value).startswith("the_setting is missing: " if value == "" else f"the_setting={value} is not")


@pytest.mark.parametrize("rule", [ANY, FRACTION, EPOCHS])
def test_a_whole_number_beyond_all_floats_is_refused(rule: Number) -> None:
    assert "the_setting=1000" in refusal(rule, 10**400)


@pytest.mark.parametrize(
    ("rule", "accepted", "refused"),
    [
        (Number(low=0, high=1), [0, 1, "0", "1.0", "1e-9", 0.5], [-1e-9, 1.0000001, "2", -1]),
        (FRACTION, [1, "1", 1e-12], [0, "0", "0.0", 1.5, "-0.1"]),
        (SHARE, [0, "0", 0.999999], [1, "1.0", -0.1]),
        (EPOCHS, [1, "1", 20.0, "20.0", "1e3"], [0, "0", 0.5, "1.5", -3, 1.0000001]),
    ],
)
def test_bounds_are_included_unless_they_are_open(rule: Number, accepted: list[object], refused: list[object]) -> None:
    for value in accepted:
        assert rule.parse("the_setting", value) == float(str(value))
    for value in refused:
        assert refusal(rule, value).startswith(
            "the_setting is missing: " if value == "" else f"the_setting={value} is not"
        )


def test_a_whole_number_keeps_all_its_digits() -> None:
    assert Number(whole=True).parse("x", "9007199254740993") == 2**53 + 1


def test_whole_numbers_come_out_as_int_and_others_as_float() -> None:
    assert isinstance(EPOCHS.parse("epochs", "20.0"), int)
    assert isinstance(FRACTION.parse("fraction", 1), float)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (FRACTION, "it must be a number above 0 and at most 1 (for example 0.1)"),
        (SHARE, "it must be a number of at least 0 and below 1"),
        (EPOCHS, "it must be a whole number of at least 1 (for example 20)"),
        (ANY, "it must be a number"),
        (Number(high=3), "it must be a number at most 3"),
    ],
)
def test_a_refused_number_is_told_name_value_and_rule(rule: Number, words: str) -> None:
    assert refusal(rule, "abc") == f"the_setting=abc is not accepted: {words}"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_written_out(value: float) -> None:
    assert ANY.parse("value", repr(value)) == value


@pytest.mark.parametrize("value", ["ADAM", "adam ", "", None, 1, "nan", True])
def test_a_choice_takes_its_own_words_only(value: object) -> None:
    message = refusal(Choice(("adam", "sgd")), value)
    given = f"the_setting={value} is not accepted" if value != "" else "the_setting is missing"
    assert message == f"{given}: it must be one of adam, sgd"


def test_a_choice_gives_the_word() -> None:
    assert Choice(("adam", "sgd")).parse("optimizer", "sgd") == "sgd"


def test_an_optional_value_takes_its_word_for_none() -> None:
    rule = OptionalValue(Number(low=8, whole=True, example="128"), "auto")
    assert [rule.parse("image_size", value) for value in ("auto", "", None, "64")] == [None, None, None, 64]


@pytest.mark.parametrize("value", ["abc", "nan", 4, "7.5", True, "AUTO"])
def test_a_refused_optional_value_is_told_of_the_word_too(value: object) -> None:
    message = refusal(OptionalValue(Number(low=8, whole=True, example="128"), "auto"), value)
    assert f"the_setting={value}" in message
    assert "auto, or a whole number of at least 8 (for example 128)" in message


@dataclass(frozen=True)
class Oven:
    minutes: int = setting(dataclasses.MISSING, Number(low=1, whole=True), "time")
    degrees: float = setting(180.0, Number(low=0, above=True), "temperature", unit="C")
    note: str = "no setting, so nobody checks it"

    def __post_init__(self) -> None:
        validate_settings(self)


def test_settings_are_brought_to_their_types_at_construction() -> None:
    oven = Oven(minutes="45.0", degrees="200", note="7")  # type: ignore[arg-type]
    assert oven == Oven(45, 200.0, "7")
    assert (type(oven.minutes), type(oven.degrees)) == (int, float)


def test_a_broken_rule_at_construction_names_the_setting() -> None:
    with pytest.raises(InvalidValue, match=r"^minutes=0 is not accepted: .*at least 1"):
        Oven(minutes=0)


def test_settings_are_listed_in_their_order_with_their_metadata() -> None:
    fields = settings_of(Oven)
    assert [field.name for field in fields] == ["minutes", "degrees"]
    assert fields[0].default is dataclasses.MISSING
    assert fields[1].default == 180.0
    assert fields[1].metadata["unit"] == "C"


def test_unknown_keys_are_refused_with_the_known_ones() -> None:
    check_keys("setting", ["a", "b"], ["a", "b", "c"])
    with pytest.raises(UnknownName, match=r"setting=degres .* did you mean degrees\? known: degrees, minutes"):
        check_keys("setting", ["minutes", "degres"], ["degrees", "minutes"])
