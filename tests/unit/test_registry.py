"""The registries are the only lists of names, so an unknown or doubled name must not pass unnoticed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxyflow.core import registry
from proxyflow.core.errors import InvalidValue, UnknownName, UserError
from proxyflow.core.registry import Registry

Offer = Callable[..., None]
GROUP = "proxyflow.test_colours"


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Installs a package that offers colours: `offer(name, version, entry_point=value, …)`."""
    monkeypatch.syspath_prepend(tmp_path)
    colours = "\n".join(f"{name.upper()} = '#{name}'" for name in ("red", "green", "ochre", "zinc"))
    for module in ("paints", "more_paints"):
        (tmp_path / f"{module}.py").write_text(f"{colours}\nNUMBER = 1\n")
    (tmp_path / "broken_paints.py").write_text("1 / 0")

    def install(name: str, version: str, **offered: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{key} = {value}" for key, value in offered.items()]
        (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))

    registry._installed.cache_clear()
    yield install
    registry._installed.cache_clear()
    for module in ("paints", "more_paints", "broken_paints"):
        sys.modules.pop(module, None)


@pytest.fixture
def palette() -> Registry[str]:
    """A registry to which other packages may offer colours."""
    made = Registry[str]("colour", GROUP, lambda name, item: "" if isinstance(item, str) else "it is no text")
    made.add("red", "#f00")
    return made


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
    assert str(caught.value) == "colour=bleu is not accepted: did you mean blue? known: red, blue"


def test_the_decorator_registers_and_gives_back_what_it_decorates() -> None:
    functions = Registry[object]("function")

    @functions.register("one")
    def one() -> int:
        return 1

    assert functions["one"] is one
    assert one() == 1


def test_without_a_group_other_packages_offer_nothing(colours: Registry[str], offer: Offer) -> None:
    offer("paints", "1.0", green="paints:GREEN")
    assert list(colours) == ["red", "blue"]


def test_what_other_packages_offer_comes_after_what_is_built_in(palette: Registry[str], offer: Offer) -> None:
    offer("paints", "1.0", zinc="paints:ZINC", green="paints:GREEN")
    offer("more-paints", "0.3", ochre="more_paints:OCHRE")
    assert list(palette) == ["red", "green", "ochre", "zinc"]
    assert (palette["green"], palette["ochre"], len(palette)) == ("#green", "#ochre", 4)
    assert "zinc" in palette
    assert {name: palette.origin(name) for name in palette} == {
        "red": "",
        "green": "package paints 1.0",
        "zinc": "package paints 1.0",
        "ochre": "package more-paints 0.3",
    }


def test_a_package_is_imported_only_when_its_plug_in_is_needed(palette: Registry[str], offer: Offer) -> None:
    offer("paints", "1.0", green="paints:GREEN")
    assert palette["red"] == "#f00"
    assert "green" in palette
    assert "paints" not in sys.modules
    assert palette["green"] == "#green"


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        ("missing_paints:GREEN", "ModuleNotFoundError"),
        ("paints:NOTHING", "AttributeError"),
        ("broken_paints:GREEN", "ZeroDivisionError"),
        ("paints:NUMBER", "it is no text"),
    ],
)
def test_one_that_cannot_be_used_is_left_out_and_says_why(
    palette: Registry[str], offer: Offer, capsys: pytest.CaptureFixture[str], offered: str, reason: str
) -> None:
    offer("paints", "1.0", green=offered, ochre="paints:OCHRE")
    for _ in range(2):
        assert list(palette) == ["red", "ochre"]
    told = capsys.readouterr().err
    assert told.count("\n") == 1, "once"
    for text in ("colour=green", "paints 1.0", f"green = {offered}", reason):
        assert text in told
    with pytest.raises(InvalidValue) as caught:
        palette["green"]
    assert not isinstance(caught.value, UnknownName)
    assert (caught.value.name, caught.value.value) == ("colour", "green")
    assert reason in caught.value.rule
    assert "green" in palette, "so that whoever asks for it is told the reason"


def test_a_name_that_is_built_in_stays_what_it_is(
    palette: Registry[str], offer: Offer, capsys: pytest.CaptureFixture[str]
) -> None:
    offer("paints", "1.0", red="paints:RED", green="paints:GREEN")
    assert (palette["red"], palette.origin("red")) == ("#f00", "")
    assert list(palette) == ["red", "green"]
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "paints 1.0" in told


def test_a_name_that_two_packages_offer_is_neither_ones(
    palette: Registry[str], offer: Offer, capsys: pytest.CaptureFixture[str]
) -> None:
    offer("paints", "1.0", green="paints:GREEN")
    offer("more-paints", "0.3", green="more_paints:GREEN")
    assert list(palette) == ["red"]
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(InvalidValue) as caught:
        palette["green"]
    assert all(package in caught.value.rule for package in ("paints 1.0", "more-paints 0.3"))


def test_a_name_that_no_option_could_hold_is_left_out(palette: Registry[str], offer: Offer) -> None:
    offer("paints", "1.0", **{"dark green": "paints:GREEN", "a,b": "paints:GREEN", "a:b@c": "paints:GREEN"})
    assert list(palette) == ["red"]


def test_an_unknown_name_is_refused_with_the_names_of_plug_ins_too(palette: Registry[str], offer: Offer) -> None:
    offer("paints", "1.0", green="paints:GREEN")
    with pytest.raises(UnknownName, match="did you mean green"):
        palette["gren"]
