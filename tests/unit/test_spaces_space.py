"""A search is only as good as its draws: inside the space, spread evenly, and the same for the same seed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from example_spaces import IMAGES, large_content
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.spaces.parameters import Categorical, Float, Int, Parameter
from proxyflow.spaces.space import Space

LARGE = Space.of(large_content(), "large.yaml")
UNITS = st.floats(0, 1, exclude_max=True)


@st.composite
def numbers(draw: st.DrawFn) -> Float | Int:
    """A bounded number of any kind."""
    kind = draw(st.sampled_from(("linear", "log", "step", "whole", "whole log", "whole step")))
    if kind.startswith("whole"):
        low = draw(st.integers(1, 10**6) if "log" in kind else st.integers(-(10**6), 10**6))
        high = low + draw(st.integers(1, 10**6))
        return Int("x", low, high, log="log" in kind, step=draw(st.integers(1, high - low)) if "step" in kind else None)
    if kind == "step":
        first, step = draw(st.integers(-(10**6), 10**6)) / 1000, draw(st.integers(1, 10**6)) / 1000
        return Float("x", first, first + step * draw(st.integers(1, 1000)) + step * draw(st.floats(0, 0.9)), step=step)
    start: float = draw(st.floats(1e-8, 1e6) if kind == "log" else st.floats(-1e6, 1e6))
    return Float("x", start, start + draw(st.floats(1e-3, 1e6)), log=kind == "log")


@given(numbers(), UNITS, UNITS)
def test_a_drawn_number_is_accepted_in_order_and_in_its_own_type(parameter: Float | Int, u: float, v: float) -> None:
    value = parameter.from_unit(u)
    assert parameter.parse(value) == value
    assert parameter.parse(repr(value)) == value
    assert isinstance(value, int) == isinstance(parameter, Int)
    assert (parameter.from_unit(v) - value) * (v - u) >= 0


@given(numbers(), UNITS)
def test_a_value_has_a_place_at_which_it_is_drawn(parameter: Float | Int, u: float) -> None:
    value = parameter.from_unit(u)
    place = parameter.to_unit(value)
    assert 0 <= place <= 1
    again = parameter.from_unit(min(place, math.nextafter(1, 0)))
    assert again == value if isinstance(value, int) else math.isclose(again, value, rel_tol=2e-3, abs_tol=1e-9)


@given(numbers())
def test_the_bounds_themselves_can_be_drawn_but_for_high_off_the_steps(parameter: Float | Int) -> None:
    first, last = parameter.from_unit(0.0), parameter.from_unit(math.nextafter(1, 0))
    slack = parameter.step or max(abs(parameter.low), abs(parameter.high)) * 1e-3 + 1e-9
    assert first - parameter.low <= slack
    assert parameter.high - last <= slack


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Int("x", 1, 4), [1, 2, 3, 4]),
        (Int("x", 16, 128, step=48), [16, 64, 112]),
        (Int("x", 1, 3, log=True), [1, 2, 3]),
        (Float("x", 0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (Float("x", 0.1, 1, step=0.4), [0.1, 0.5, 0.9]),
        (Float("x", 1.0, 1.004), [1.0, 1.001, 1.002, 1.003, 1.004]),
        (Categorical("x", choices=(True, "a", 3)), [True, "a", 3]),
    ],
)
def test_the_values_of_a_parameter_are_listed_once_each(parameter: Parameter, values: list[Any]) -> None:
    assert list(parameter.values()) == values
    assert {parameter.from_unit(u) for u in np.linspace(0, 1, 10_000, endpoint=False)} == set(values)


def test_a_logarithmic_number_is_as_often_in_every_decade() -> None:
    rates = [each["x"] for each in Space((Float("x", 1e-4, 1, log=True),)).sample(256, seed=3)]
    assert Counter(math.floor(math.log10(rate)) for rate in rates) == {-4: 64, -3: 64, -2: 64, -1: 64}


@pytest.mark.parametrize(
    ("value", "accepted"),
    [(0.25, False), (0.3, True), ("0.30000000001", True), (0.35, False), (1.0, False), (0.9, True)],
)
def test_a_value_off_the_steps_is_refused(value: object, accepted: bool) -> None:
    assert Float("x", 0.1, 1, step=0.2).accepts(value) is accepted


@pytest.mark.parametrize("value", ["0.010", "1e-2", 0.01])
def test_a_choice_among_numbers_may_be_written_in_any_way(value: object) -> None:
    assert Categorical("x", choices=(0.01, 1)).parse(value) == 0.01


def test_a_choice_keeps_the_type_that_it_was_given_in() -> None:
    assert [type(value) for value in Categorical("x", choices=(1, 2.5)).choices] == [int, float]


# Conditions and draws of the space of 40.


def expected_active(values: dict[str, Any], content: dict[str, Any]) -> set[str]:
    """Which parameters are in use, from the file's content alone."""
    active: set[str] = set()
    for _ in content:
        for name, entry in content.items():
            when = entry.get("when", {}) if isinstance(entry, dict) else {}
            lists = {parent: allowed if isinstance(allowed, list) else [allowed] for parent, allowed in when.items()}
            if all(parent in active and values[parent] in allowed for parent, allowed in lists.items()):
                active.add(name)
    return active


def test_draws_of_40_parameters_are_different_and_keep_every_bound_step_and_condition() -> None:
    content = large_content()
    drawn = LARGE.sample(100, seed=1)
    assert len(set(drawn)) == len({each.name for each in drawn}) == 100
    for configuration in drawn:
        assert set(configuration) == expected_active(dict(configuration), content)
        assert LARGE.configuration(dict(configuration)) == configuration
        assert all(configuration[f"fixed_{i}"] == value for i, value in enumerate((3, "text", True, 0.5)))
        assert all(
            configuration[f"share_{i}"] * 20 == pytest.approx(round(configuration[f"share_{i}"] * 20)) for i in range(8)
        )
    assert {"nesterov_warmup" in each for each in drawn} == {True, False}
    assert Counter(each["layers"] for each in drawn).keys() == set(range(1, 9))


def test_draws_are_spread_evenly_over_each_parameter() -> None:
    space = Space.of({"a": {"low": 0.0, "high": 1.0}, "b": ["x", "y"], "c": {"low": 1, "high": 4}}, "space.yaml")
    drawn = space.sample(64, seed=0)
    assert all(abs(count - 8) <= 1 for count in Counter(min(int(each["a"] * 8), 7) for each in drawn).values())
    assert set(Counter(each["b"] for each in drawn).values()) == {32}
    assert set(Counter(each["c"] for each in drawn).values()) == {16}


def test_the_same_seed_draws_the_same_and_another_seed_something_else() -> None:
    assert LARGE.sample(10, seed=7) == LARGE.sample(10, seed=7)
    assert not set(LARGE.sample(10, seed=7)) & set(LARGE.sample(10, seed=8))


def test_fewer_draws_are_the_first_of_more() -> None:
    assert LARGE.sample(20, seed=0)[:5] == LARGE.sample(5, seed=0)


@settings(max_examples=10)
@given(st.permutations(list(large_content())))
def test_the_order_in_a_file_has_no_effect_on_what_is_drawn(names: list[str]) -> None:
    content = large_content()
    shuffled = Space.of({name: content[name] for name in names}, "shuffled.yaml")
    assert shuffled.sample(4, seed=5) == LARGE.sample(4, seed=5)


@pytest.mark.parametrize(
    ("content", "total"),
    [
        ({"a": ["x", "y", "z"], "b": {"low": 1, "high": 4}}, 12),
        ({"a": ["x", "y", "z"], "b": {"low": 1, "high": 4, "when": {"a": "x"}}}, 6),
        ({"a": {"low": 1.0, "high": 1.002}}, 3),
        ({"a": 3, "b": "x"}, 1),
        ({"a": {"low": 1, "high": 1000, "log": True}}, 1000),
    ],
)
def test_a_space_gives_all_its_configurations_and_no_more(content: dict[str, Any], total: int) -> None:
    space = Space.of(content, "space.yaml")
    assert len(set(space.sample(total, seed=0))) == total
    with pytest.raises(InvalidValue) as caught:
        space.sample(total + 1, seed=0)
    assert (caught.value.name, caught.value.value) == ("configurations", total + 1)
    assert str(total) in caught.value.rule


@pytest.mark.parametrize("n", [0, -1, 1.5, "many"])
def test_a_number_of_draws_must_be_a_whole_number_above_0(n: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        LARGE.sample(n, seed=0)
    assert caught.value.name == "configurations"


def test_a_parameter_without_bounds_is_checked_but_not_drawn() -> None:
    assert IMAGES.configuration({"learning_rate": 1e9})["learning_rate"] == 1e9
    with pytest.raises(InvalidValue) as caught:
        IMAGES.sample(2, seed=0)
    assert caught.value.value == "learning_rate"


def test_the_default_is_that_of_every_parameter() -> None:
    assert IMAGES.default == IMAGES.configuration({})
    assert IMAGES.default is not None
    assert IMAGES.default.name == "default"
    assert LARGE.default is None


def test_a_parameter_is_found_by_its_name() -> None:
    assert IMAGES["optimizer"].label == "opt"
    with pytest.raises(UnknownName):
        IMAGES["momentum"]


def test_spaces_are_values() -> None:
    assert Space.of(large_content(), "a.yaml") == LARGE
    assert hash(Space.of(large_content(), "a.yaml")) == hash(LARGE)


# Declarations that cannot be.

A = Categorical("a", choices=("x", "y"))


@pytest.mark.parametrize(
    ("parameters", "name", "value"),
    [
        ((A, A), "hyperparameter", "a"),
        ((A, Int("b", 1, 2, when={"c": ("x",)})), "b.when", "c"),
        ((A, Int("b", 1, 2, when={"a": ("z",)})), "b.when: a", "z"),
        ((Float("f", 0, 1), Int("b", 1, 2, when={"f": (0.5,)})), "b.when", "f"),
        ((Int("b", 1, 2, when={"b": (1,)}),), "b.when", "b -> b"),
        (
            (Int("b", 1, 2, when={"d": (1,)}), Int("c", 1, 2, when={"b": (1,)}), Int("d", 1, 2, when={"c": (1,)})),
            "b.when",
            "b -> d -> c -> b",
        ),
    ],
)
def test_a_wrong_space_is_refused(parameters: tuple[Parameter, ...], name: str, value: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Space(parameters)
    assert (caught.value.name, caught.value.value) == (name, value)


@pytest.mark.parametrize(
    ("kind", "arguments", "name", "value"),
    [
        (Float, {"name": "learning rate"}, "hyperparameter", "learning rate"),
        (Float, {"name": 3}, "hyperparameter", 3),
        (Float, {"name": "x", "label": "a=b"}, "x.label", "a=b"),
        (Float, {"name": "x", "group": "a,b"}, "x.group", "a,b"),
        (Float, {"name": "x", "low": "a"}, "x.low", "a"),
        (Float, {"name": "x", "low": 1, "high": 1}, "x.high", 1),
        (Float, {"name": "x", "low": 0, "high": 1, "log": True}, "x.low", 0),
        (Float, {"name": "x", "low": 1, "high": 2, "log": True, "step": 0.5}, "x.step", 0.5),
        (Float, {"name": "x", "low": 1, "high": 2, "step": 0}, "x.step", 0),
        (Float, {"name": "x", "low": 1, "high": 2, "step": 3}, "x.step", 3),
        (Float, {"name": "x", "low": 1, "high": 2, "default": 3}, "x.default", 3),
        (Int, {"name": "x", "low": 1.5, "high": 2}, "x.low", 1.5),
        (Int, {"name": "x", "low": 1, "high": 9, "step": 1.5}, "x.step", 1.5),
        (Int, {"name": "x", "low": 1, "high": 9, "step": 2, "default": 2}, "x.default", 2),
        (Categorical, {"name": "epochs", "choices": (1, 2)}, "hyperparameter", "epochs"),
        (Categorical, {"name": "x"}, "x.choices", ""),
        (Categorical, {"name": "x", "choices": (1, 2, 1.0)}, "x.choices", 1.0),
        (Categorical, {"name": "x", "choices": ("1", 1)}, "x.choices", 1),
        (Categorical, {"name": "x", "choices": (None,)}, "x.choices", None),
        (Categorical, {"name": "x", "choices": ((1,),)}, "x.choices", (1,)),
        (Categorical, {"name": "x", "choices": ("a",), "default": "b"}, "x.default", "b"),
        (Categorical, {"name": "x", "choices": ("a",), "when": {"y": ()}}, "x.when", "y"),
        (Categorical, {"name": "x", "choices": ("a",), "when": "y"}, "x.when", "y"),
    ],
)
def test_a_wrong_declaration_is_refused(kind: Any, arguments: dict[str, Any], name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        kind(**arguments)
    assert (caught.value.name, caught.value.value) == (name, value)
