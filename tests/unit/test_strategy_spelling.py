"""Runs are matched by a strategy's spelling, so one strategy must never go by two."""

from __future__ import annotations

import pytest

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.spelling import syntax_of
from proxyflow.proxies import TARGET, Epochs, Proxy, parse_proxies, parse_proxy, reductions
from proxyflow.strategies import (
    Easiest,
    Full,
    Hardest,
    Random,
    strategies,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("full", "full"),
        (" full ", "full"),
        ("random:0.1", "random:0.1"),
        ("random:.10", "random:0.1"),
        ("random:1e-1", "random:0.1"),
        (" random : 0.1 ", "random:0.1"),
        ("half-classes:1", "half-classes:1.0"),
        ("other-half-classes:0.50", "other-half-classes:0.5"),
        ("easiest:.25", "easiest:0.25"),
        ("easiest:0.1,by=loss", "easiest:0.1"),
        ("easiest:0.1,balance=none,by=loss", "easiest:0.1"),
        ("easiest:0.1,balance=class,by=el2n", "easiest:0.1,by=el2n,balance=class"),
        ("hardest:0.5,drop=0", "hardest:0.5"),
        ("hardest:.5 , drop = .050", "hardest:0.5,drop=0.05"),
        ("hardest:.95,drop=0.05", "hardest:0.95,drop=0.05"),
        ("epochs:5", "epochs:5"),
        ("epochs:5.0", "epochs:5"),
        ("epochs:05", "epochs:5"),
    ],
)
def test_every_spelling_becomes_the_canonical_one(text: str, canonical: str) -> None:
    strategy = parse_proxy(text)
    assert strategy.canonical == canonical
    assert parse_proxy(canonical) == strategy


@pytest.mark.parametrize(
    "text", ["random:1", "random:1.0", "easiest:1.0", "easiest:1,balance=class", "hardest:1", "hardest:1.0,drop=0.0"]
)
def test_all_of_the_examples_are_the_target_itself(text: str) -> None:
    assert parse_proxy(text) == TARGET
    assert parse_proxy(text).canonical == "full"


def refusal(text: str) -> str:
    with pytest.raises(InvalidValue) as caught:
        parse_proxy(text)
    assert isinstance(caught.value, UserError)
    return str(caught.value)


@pytest.mark.parametrize("name", ["random", "half-classes", "other-half-classes", "easiest", "hardest"])
@pytest.mark.parametrize("fraction", ["0", "0.0", "1.5", "-0.1", "nan", "inf", "abc", "10%", "1,5"])
def test_a_fraction_outside_of_0_to_1_is_refused(name: str, fraction: str) -> None:
    message = refusal(f"{name}:{fraction}")
    assert name in message
    if "," not in fraction:
        assert f"F={fraction} " in message
        assert "above 0 and at most 1" in message


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "nan", "five"])
def test_a_number_of_epochs_is_whole_and_at_least_1(count: str) -> None:
    message = refusal(f"epochs:{count}")
    assert f"epochs: N={count} " in message
    assert "whole number of at least 1" in message


@pytest.mark.parametrize("name", [name for name in strategies if name != "full"])
@pytest.mark.parametrize("ending", ["", ":", ": "])
def test_a_missing_argument_is_told_how_to_write_it(name: str, ending: str) -> None:
    message = refusal(name + ending)
    assert "missing" in message
    assert f"write {syntax_of(strategies[name])}" in message


@pytest.mark.parametrize("text", ["full:1", "full:", "full:0.5"])
def test_an_argument_too_many_is_refused(text: str) -> None:
    assert "takes no argument" in refusal(text)


@pytest.mark.parametrize("text", ["", "0.1", ":0.1", "drop=0.1"])
def test_an_unknown_strategy_is_refused_with_the_known_ones(text: str) -> None:
    message = refusal(text)
    assert all(name in message for name in strategies)


@pytest.mark.parametrize(("text", "meant"), [("easyest:0.1", "easiest"), ("Random:0.1", "random")])
def test_a_misspelled_strategy_is_refused_with_what_was_meant(text: str, meant: str) -> None:
    assert f"did you mean {meant}?" in refusal(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("easiest:0.1,drop=0.05", "by"),
        ("hardest:0.5,dropp=0.05", "drop"),
        ("random:0.5,by=loss", "no options"),
        ("full,drop=0.1", "no options"),
        ("hardest:0.5,0.05", "drop"),
        ("hardest:0.5,", "drop"),
        ("random:0.5,fraction=0.4", "no options"),
    ],
)
def test_an_unknown_option_is_refused_with_the_known_ones(text: str, part: str) -> None:
    message = refusal(text)
    assert text in message
    assert part in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("easiest:0.1,by=lossy", ["easiest: by=lossy", "loss", "el2n"]),
        ("easiest:0.1,balance=all", ["balance=all", "none, class"]),
        ("hardest:0.5,drop=1", ["drop=1", "below 1"]),
        ("hardest:0.5,drop=-0.1", ["drop=-0.1"]),
        ("hardest:0.5,drop=nan", ["drop=nan"]),
        ("hardest:0.5,drop=0.5", ["drop=0.5", "below F=0.5"]),
        ("hardest:0.1,drop=0.5", ["drop=0.5", "below F=0.1"]),
        ("hardest:0.5,drop=0.1,drop=0.2", ["drop", "twice"]),
    ],
)
def test_an_option_with_a_wrong_value_is_refused_with_its_rule(text: str, parts: list[str]) -> None:
    message = refusal(text)
    assert all(part in message for part in parts)


def test_a_list_keeps_options_with_their_strategy() -> None:
    parsed = parse_proxies("full,hardest:0.5,drop=0.05,random:0.1")
    assert parsed == (Proxy(), Proxy(Hardest(0.5, drop=0.05)), Proxy(Random(0.1)))


@pytest.mark.parametrize(
    "text",
    [
        "full random:0.1 easiest:0.2,by=el2n,balance=class epochs:3",
        "full, random:0.1, easiest:0.2, by=el2n, balance=class, epochs:3",
        "full;random:0.1;easiest:0.2;by=el2n;balance=class;epochs:3;",
    ],
)
def test_a_list_is_separated_by_commas_spaces_or_semicolons(text: str) -> None:
    chosen = (Full(), Random(0.1), Easiest(0.2, by="el2n", balance="class"))
    assert parse_proxies(text) == (*map(Proxy, chosen), Proxy(reductions=(Epochs(3),)))


def test_a_strategy_named_twice_in_whatever_spelling_is_kept_once() -> None:
    assert parse_proxies("random:.1 full random:0.10 easiest:1 random:1") == (Proxy(Random(0.1)), Proxy())


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_an_empty_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="at least one of full"):
        parse_proxies(text)


def test_a_list_with_one_wrong_strategy_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidValue, match=r"F=7"):
        parse_proxies("full,random:7")


def test_the_usage_line_shows_argument_and_options() -> None:
    assert syntax_of(strategies["full"]) == "full"
    assert syntax_of(reductions["epochs"]) == "epochs:N"
    assert syntax_of(strategies["hardest"]) == "hardest:F[,drop=0.0][,by=loss][,balance=none]"


def test_a_strategy_built_in_code_is_checked_as_one_that_was_typed() -> None:
    with pytest.raises(InvalidValue, match=r"strategy random: F=2"):
        Random(2)
    assert Random("0.10") == parse_proxy("random:0.1").data  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("classes:0,1", "classes:0+1"),
        ("classes=0, 3, 5", "classes:0+3+5"),
        ("classes:0+1,2", "classes:0+1+2"),
        ("classes:0,1,fraction=0.5", "classes:0+1,fraction=0.5"),
    ],
)
def test_classes_that_commas_separate_are_told_how_to_join_them(text: str, right: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_proxy(text)
    assert caught.value.rule.endswith(f"; write {right}")
    assert parse_proxy(right).canonical == right
    with pytest.raises(InvalidValue) as caught:
        parse_proxies(f"full,{text},random:0.1")
    assert f"; write {right}" in caught.value.rule
