"""A space file is written by hand: every mistake in it must be refused with the file, the hyperparameter and the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from example_spaces import IMAGES

from proxyflow.core.errors import InvalidValue, UnknownName, UserError
from proxyflow.spaces.parameters import Categorical, Float, Int
from proxyflow.spaces.space import Space

CONTRACT = """
learning_rate: {low: 0.0001, high: 0.1, log: true}
optimizer: [adam, sgd, rmsprop]
width: {low: 16, high: 128, step: 16}
momentum: {low: 0.8, high: 0.99, when: {optimizer: [sgd, rmsprop]}}
batch_size: 64
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_kinds_ranges_conditions_and_fixed_values(tmp_path: Path) -> None:
    assert Space.load(written(tmp_path, CONTRACT)).parameters == (
        Float("learning_rate", 0.0001, 0.1, log=True),
        Categorical("optimizer", choices=("adam", "sgd", "rmsprop")),
        Int("width", 16, 128, step=16),
        Float("momentum", 0.8, 0.99, when={"optimizer": ("sgd", "rmsprop")}),
        Categorical("batch_size", choices=(64,), default=64),
    )


def test_a_file_gives_defaults_labels_groups_and_help(tmp_path: Path) -> None:
    text = (
        "lr: {low: 1e-4, high: 1e-1, log: yes, default: 1e-3, label: rate, group: learning-rate, help: step size}\n"
        "nesterov: {choices: [true, false], default: false, when: {lr_kind: cosine}}\n"
        "lr_kind: {choices: [cosine, step], default: cosine}\n"
    )
    space = Space.load(written(tmp_path, text))
    assert (space["lr"].default, space["lr"].help) == (0.001, "step size")
    assert space.configuration({"lr": "0.01", "nesterov": "true"}).name == "rate=0.01,nesterov=true"
    assert space.configuration({"lr": "0.01"}).group == "learning-rate"
    assert space.configuration({"lr_kind": "step"}).name == "lr_kind=step"


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("{low: 1, high: 8}", Int),
        ("{low: 1.0, high: 8}", Float),
        ("{low: 1, high: 8, step: 0.5}", Float),
        ("{low: 0, high: 1, default: 0.5}", Float),
        ("{low: 1e1, high: 1e3}", Float),
    ],
)
def test_a_range_of_whole_numbers_alone_is_of_whole_numbers(tmp_path: Path, entry: str, kind: type) -> None:
    assert type(Space.load(written(tmp_path, f"x: {entry}"))["x"]) is kind


def test_numbers_with_an_exponent_are_numbers_and_not_text(tmp_path: Path) -> None:
    assert Space.load(written(tmp_path, "x: [1e-4, 1E-3, 1]"))["x"] == Categorical("x", choices=(0.0001, 0.001, 1.0))


WHEN = "optimizer: [adam, sgd]\nx: {low: 1, high: 2, when: %s}"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("x: {low: 1}", "x.high", ""),
        ("x: {high: 1}", "x.low", ""),
        ("x: {}", "x.low", ""),
        ("x: {low: 2, high: 1}", "x.high", 1),
        ("x: {low: true, high: 2}", "x.low", True),
        ("x: {low: a, high: 2}", "x.low", "a"),
        ("x: {low: 0, high: 1, log: true}", "x.low", 0),
        ("x: {low: 1, high: 2, log: maybe}", "x.log", "maybe"),
        ("x: {low: 1, high: 8, log: true, step: 1}", "x.step", 1),
        ("x: {low: 1, high: 8, default: 9}", "x.default", 9),
        ("x: {low: 1, hi: 8}", "key of x", "hi"),
        ("x: {choices: [1, 2], low: 1}", "x.low", 1),
        ("x: {choices: 3}", "x.choices", 3),
        ("x: []", "x.choices", ""),
        ("x: [a, b, a]", "x.choices", "a"),
        ("x: [[a], b]", "x.choices", ["a"]),
        ("x:", "x.choices", None),
        ("x: {low: 1, high: 8, label: 'a b'}", "x.label", "a b"),
        ("on: [1, 2]", "hyperparameter", True),
        ("'a b': [1, 2]", "hyperparameter", "a b"),
        (WHEN % "sgd", "x.when", "sgd"),
        (WHEN % "{optimizer: []}", "x.when", "optimizer"),
        (WHEN % "{optimizer: [rmsprop]}", "x.when: optimizer", "rmsprop"),
        (WHEN % "{optimiser: [sgd]}", "x.when", "optimiser"),
        (WHEN % "{x: [1]}", "x.when", "x -> x"),
        ("a: {choices: [1, 2], when: {b: 1}}\nb: {choices: [1, 2], when: {a: 1}}", "a.when", "a -> b -> a"),
    ],
)
def test_a_wrong_entry_is_refused_by_file_hyperparameter_and_value(
    tmp_path: Path, text: str, name: str, value: object
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidValue) as caught:
        Space.load(path)
    assert caught.value.name == f"{path}: {name}"
    assert caught.value.value == value
    assert str(caught.value).startswith(f"{path}: {name}{'=' if value != '' else ' is missing'}")


@pytest.mark.parametrize("text", ["", "3", "[]", "- x", "{}", "x: [", "x: 1\nx: 2", "a: {low: 1, low: 2}", "{[1]: 2}"])
def test_what_is_no_space_is_refused_by_file(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        Space.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        Space.load(tmp_path / "absent.yaml")
    assert (caught.value.name, caught.value.value) == ("space", str(tmp_path / "absent.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"x: 1\n\xff\xfe")
    with pytest.raises(UserError, match=r"binary\.yaml"):
        Space.load(tmp_path / "binary.yaml")


# A part of a trainer's space.


def part(content: dict[str, Any], schema: Space = IMAGES) -> Space:
    return Space.of(content, "space.yaml", schema)


def test_a_part_of_a_trainers_space_has_its_names_groups_and_defaults() -> None:
    space = part({"optimizer": ["adam", "sgd"], "learning_rate": {"low": "1e-4", "high": 0.1, "log": True}})
    drawn = space.sample(16, seed=0)
    for each in drawn:
        assert each.space == IMAGES
        assert set(each.differences) <= {"optimizer", "learning_rate"}
        assert 1e-4 <= each["learning_rate"] <= 0.1
        assert each.group == "learning-rate"
        assert each.name.startswith("lr=")
    assert {each["optimizer"] for each in drawn} == {"adam", "sgd"}
    assert [parameter.name for parameter in space.tunable] == ["learning_rate", "optimizer"]


def test_values_of_a_part_are_in_the_trainers_types() -> None:
    space = part({"learning_rate": ["1e-3", 1], "stem_channels_1": ["4", 32], "batch_size": 16, "weight_decay": 0})
    assert {type(each["learning_rate"]) for each in space.sample(4, seed=0)} == {float}
    assert {type(each["stem_channels_1"]) for each in space.sample(4, seed=0)} == {int}
    assert {(each["batch_size"], each["weight_decay"]) for each in space.sample(4, seed=0)} == {(16, 0.0)}
    assert isinstance(part({"batch_size": {"low": 16, "high": 64.0}})["batch_size"], Int)
    assert isinstance(part({"weight_decay": {"low": 0, "high": 1}})["weight_decay"], Float)


def test_the_default_is_in_a_part_only_if_its_values_are() -> None:
    assert part({"optimizer": ["adam", "sgd"]}).default == IMAGES.default
    assert part({"optimizer": ["rmsprop", "sgd"]}).default is None
    assert part({"weight_decay": {"low": 0.1, "high": 1}}).default is None


def test_a_configuration_outside_a_part_is_refused() -> None:
    with pytest.raises(InvalidValue) as caught:
        part({"optimizer": ["adam", "sgd"]}).configuration({"optimizer": "rmsprop"})
    assert caught.value.value == "rmsprop"
    with pytest.raises(InvalidValue):
        part({"optimizer": ["adam", "sgd"]}).configuration({"batch_size": 32})


def test_a_condition_in_a_file_leaves_the_trainers_default_elsewhere() -> None:
    space = part({"optimizer": ["adam", "sgd"], "batch_size": {"choices": [8, 16], "when": {"optimizer": "sgd"}}})
    found = {(each["optimizer"], each["batch_size"]) for each in space.sample(3, seed=0)}
    assert found == {("adam", 64), ("sgd", 8), ("sgd", 16)}


TRAINER = Space(
    (
        Categorical("optimizer", choices=("adam", "sgd", "rmsprop"), default="adam"),
        Float("momentum", 0, 1, default=0.9, when={"optimizer": ("sgd", "rmsprop")}),
        Int("depth", 1, 100),
        Categorical("nesterov", choices=(True, False), default=False, when={"optimizer": ("sgd",)}),
        Float("rate", 0, above=True, default=0.1, log=True),
        Int("width", 8, 64, step=8, default=8),
    )
)


def test_a_trainers_condition_holds_in_a_part_of_its_space() -> None:
    space = part({"optimizer": ["adam", "sgd"], "depth": 3, "momentum": [0.5, 0.9]}, TRAINER)
    assert {tuple(each.values())[:-2] for each in space.sample(3, seed=0)} == {
        ("adam", 3),
        ("sgd", 0.5, 3, False),
        ("sgd", 0.9, 3, False),
    }
    narrow = part({"optimizer": "adam", "depth": [3, 4]}, TRAINER)
    assert {tuple(each.values()) for each in narrow.sample(2, seed=0)} == {("adam", 3, 0.1, 8), ("adam", 4, 0.1, 8)}


def test_a_range_in_a_file_keeps_what_it_does_not_change() -> None:
    assert part({"depth": 3, "rate": {"low": 0.01, "high": 1}}, TRAINER)["rate"] == Float(
        "rate", 0.01, 1, log=True, default=0.1
    )
    assert part({"depth": {"high": 10}}, TRAINER)["depth"] == Int("depth", 1, 10)
    assert part({"depth": 3, "width": {"low": 16}}, TRAINER)["width"] == Int("width", 16, 64, step=8)
    assert part({"depth": {}}, TRAINER)["depth"] == Int("depth", 1, 100)


@pytest.mark.parametrize(
    ("schema", "content", "name", "value"),
    [
        (IMAGES, {"learning_rat": [1]}, "hyperparameter", "learning_rat"),
        (IMAGES, {"arch": ["resnet50"]}, "arch", "resnet50"),
        (IMAGES, {"arch": "resnet50"}, "arch", "resnet50"),
        (IMAGES, {"arch": {"low": 1, "high": 2}}, "arch", {"low": 1, "high": 2}),
        (IMAGES, {"learning_rate": {"low": 0, "high": 1}}, "learning_rate", 0),
        (IMAGES, {"learning_rate": {"high": 1}}, "learning_rate.low", ""),
        (IMAGES, {"learning_rate": {"low": -1, "high": 1}}, "learning_rate", -1),
        (IMAGES, {"learning_rate": {"low": 1, "high": 0.1}}, "learning_rate.high", 0.1),
        (IMAGES, {"label_smoothing": {"low": 0, "high": 1}}, "label_smoothing", 1),
        (IMAGES, {"stem_channels_1": {"low": 1.5, "high": 9}}, "stem_channels_1", 1.5),
        (IMAGES, {"weight_decay": {"lo": 0, "high": 1}}, "key of weight_decay", "lo"),
        (IMAGES, {"weight_decay": {"low": 0, "high": 1, "default": 0}}, "weight_decay.default", 0),
        (IMAGES, {"weight_decay": {"low": 0, "high": 1, "label": "w"}}, "weight_decay.label", "w"),
        (IMAGES, {"weight_decay": [0, "0.0"]}, "weight_decay.choices", 0.0),
        (
            IMAGES,
            {"optimizer": ["adam", "sgd"], "weight_decay": {"when": {"optimizer": "rmsprop"}}},
            "weight_decay.when: optimizer",
            "rmsprop",
        ),
        (TRAINER, {"optimizer": "sgd"}, "hyperparameter", "depth"),
        (TRAINER, {"depth": 1, "momentum": [0.5, 0.9]}, "hyperparameter", "momentum"),
        (
            TRAINER,
            {"depth": 1, "optimizer": ["sgd"], "momentum": {"when": {"optimizer": "adam"}}},
            "momentum.when",
            "optimizer",
        ),
        (TRAINER, {"depth": 1, "width": {"low": 9, "high": 64}}, "width", 9),
    ],
)
def test_what_a_trainer_does_not_have_is_refused(
    schema: Space, content: dict[str, Any], name: str, value: object
) -> None:
    with pytest.raises(InvalidValue) as caught:
        part(content, schema)
    assert (caught.value.name, caught.value.value) == (f"space.yaml: {name}", value)


def test_a_name_that_a_trainer_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(UnknownName) as caught:
        part({"momentum": [1]})
    assert all(name in caught.value.rule for name in IMAGES.names)


def test_an_unbounded_parameter_in_a_part_needs_bounds_to_be_drawn() -> None:
    space = part({"learning_rate": {"when": {"optimizer": "adam"}}})
    with pytest.raises(InvalidValue) as caught:
        space.sample(2, seed=0)
    assert caught.value.value == "learning_rate"
