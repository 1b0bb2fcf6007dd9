"""The registries are the only lists of names, so an unknown or doubled name must not pass unnoticed."""

from __future__ import annotations

import pytest

from proxyflow.errors import UnknownName, UserError
from proxyflow.registry import Registry


@pytest.fixture
def colours() -> Registry[str]:
    registry = Registry[str]("colour")
    registry.add("red", "#f00")
    registry.add("blue", "#00f")
    return registry


def test_names_stay_in_the_order_of_registration(colours: Registry[str]) -> None:
    colours.add("amber", "#fc0")
    assert list(colours) == ["red", "blue", "amber"]
    assert list(colours.values()) == ["#f00", "#00f", "#fc0"]
    assert len(colours) == 3


def test_a_name_gives_its_item(colours: Registry[str]) -> None:
    assert colours["blue"] == "#00f"
    assert "blue" in colours
    assert "green" not in colours


def test_a_second_item_of_one_name_is_refused_and_changes_nothing(colours: Registry[str]) -> None:
    with pytest.raises(ValueError, match=r"colour 'red' is registered twice"):
        colours.add("red", "#e00")
    assert colours["red"] == "#f00"


def test_an_unknown_name_is_a_wrong_request_that_lists_the_known_ones(colours: Registry[str]) -> None:
    with pytest.raises(UnknownName) as caught:
        colours["bleu"]
    assert isinstance(caught.value, UserError)
    assert str(caught.value) == "colour=bleu is not accepted: did you mean blue? known are red, blue"


def test_the_decorator_registers_and_gives_back_what_it_decorates() -> None:
    functions = Registry[object]("function")

    @functions.register("one")
    def one() -> int:
        return 1

    assert functions["one"] is one
    assert one() == 1
