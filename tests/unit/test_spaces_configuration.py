"""Runs are paired by their configuration's name, so names are part of what users rely on."""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from typing import Any

import pytest
from example_spaces import IMAGES, large_content
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.spaces.configuration import LONGEST_NAME, Configuration
from proxyflow.spaces.parameters import Categorical, Float, Int
from proxyflow.spaces.space import Space

RATE = "learning-rate"
PUBLISHED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({}, "default", "other"),
    ({"arch": "xresnet18"}, "arch=xresnet18", "other"),
    ({"arch": "xresnet101"}, "arch=xresnet101", "other"),
    ({"learning_rate": 0.001}, "lr=0.001", RATE),
    ({"learning_rate": 0.007}, "lr=0.007", RATE),
    ({"learning_rate": 0.01}, "lr=0.01", RATE),
    ({"learning_rate": 0.1}, "lr=0.1", RATE),
    ({"stem_channels_1": 4, "stem_channels_2": 4}, "stem=4-4", "other"),
    ({"stem_channels_1": 4}, "stem=4-32", "other"),
    ({"stem_channels_1": 4, "stem_channels_2": 48}, "stem=4-48", "other"),
    ({"stem_channels_2": 4}, "stem=32-4", "other"),
    ({"stem_channels_2": 48}, "stem=32-48", "other"),
    ({"stem_channels_1": 48, "stem_channels_2": 4}, "stem=48-4", "other"),
    ({"stem_channels_1": 48}, "stem=48-32", "other"),
    ({"stem_channels_1": 48, "stem_channels_2": 48}, "stem=48-48", "other"),
    ({"flip_probability": 0.0}, "flip=0", "other"),
    ({"flip_probability": 0.25}, "flip=0.25", "other"),
    ({"optimizer": "sgd"}, "opt=sgd", "other"),
    ({"optimizer": "rmsprop"}, "opt=rmsprop", "other"),
    ({"label_smoothing": 0.0}, "smooth=0", "other"),
    ({"arch": "xresnet18", "learning_rate": 0.001}, "arch=xresnet18,lr=0.001", RATE),
    ({"arch": "xresnet18", "learning_rate": 0.007}, "arch=xresnet18,lr=0.007", RATE),
    ({"arch": "xresnet18", "learning_rate": 0.01}, "arch=xresnet18,lr=0.01", RATE),
    ({"arch": "xresnet18", "learning_rate": 0.1}, "arch=xresnet18,lr=0.1", RATE),
    ({"arch": "xresnet101", "learning_rate": 0.001}, "arch=xresnet101,lr=0.001", RATE),
    ({"arch": "xresnet101", "learning_rate": 0.007}, "arch=xresnet101,lr=0.007", RATE),
    ({"arch": "xresnet101", "learning_rate": 0.01}, "arch=xresnet101,lr=0.01", RATE),
    ({"arch": "xresnet101", "learning_rate": 0.1}, "arch=xresnet101,lr=0.1", RATE),
    ({"learning_rate": 0.001, "optimizer": "sgd"}, "lr=0.001,opt=sgd", RATE),
    ({"learning_rate": 0.007, "optimizer": "sgd"}, "lr=0.007,opt=sgd", RATE),
    ({"learning_rate": 0.01, "optimizer": "sgd"}, "lr=0.01,opt=sgd", RATE),
    ({"learning_rate": 0.1, "optimizer": "sgd"}, "lr=0.1,opt=sgd", RATE),
    ({"learning_rate": 0.001, "optimizer": "rmsprop"}, "lr=0.001,opt=rmsprop", RATE),
    ({"learning_rate": 0.007, "optimizer": "rmsprop"}, "lr=0.007,opt=rmsprop", RATE),
    ({"learning_rate": 0.01, "optimizer": "rmsprop"}, "lr=0.01,opt=rmsprop", RATE),
    ({"learning_rate": 0.1, "optimizer": "rmsprop"}, "lr=0.1,opt=rmsprop", RATE),
)


@pytest.mark.parametrize(("changes", "name", "group"), PUBLISHED)
def test_the_published_configurations_have_their_names_and_groups(
    changes: dict[str, Any], name: str, group: str
) -> None:
    configuration = IMAGES.configuration(changes)
    assert (configuration.name, configuration.group) == (name, group)
    assert configuration.differences == changes


def test_20_published_configurations_change_the_learning_rate_and_16_do_not() -> None:
    assert Counter(group for _, _, group in PUBLISHED) == {RATE: 20, "other": 16}
    assert len({IMAGES.configuration(changes) for changes, _, _ in PUBLISHED}) == 36


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"learning_rate": 1e-05}, "lr=1e-05"),
        ({"learning_rate": 1}, "lr=1"),
        ({"batch_size": 32, "weight_decay": 0}, "bs=32,wd=0"),
        ({"weight_decay": 0.0, "arch": "xresnet34"}, "arch=xresnet34,wd=0"),
        ({"flip_probability": -0.0}, "flip=0"),
        ({"learning_rate": 0.1 + 0.2}, "lr=0.30000000000000004"),
    ],
)
def test_differences_are_named_in_the_order_of_declaration(changes: dict[str, Any], name: str) -> None:
    assert IMAGES.configuration(changes).name == name


def test_values_that_are_written_differently_are_one_configuration() -> None:
    typed = IMAGES.configuration({"learning_rate": "1e-2", "stem_channels_1": "4", "flip_probability": "0"})
    built = IMAGES.configuration({"learning_rate": 0.01, "stem_channels_1": 4, "flip_probability": 0.0})
    assert typed == built == dict(built)
    assert hash(typed) == hash(built)
    assert typed.to_json() == built.to_json()


def test_a_configuration_is_a_mapping_of_its_values_in_order() -> None:
    assert tuple(IMAGES.configuration({"optimizer": "sgd"})) == IMAGES.names
    assert IMAGES.configuration({"optimizer": "sgd"})["optimizer"] == "sgd"
    with pytest.raises(KeyError):
        IMAGES.configuration({})["momentum"]


def test_a_configuration_survives_a_process_boundary() -> None:
    configuration = IMAGES.configuration({"learning_rate": 0.01})
    found = pickle.loads(pickle.dumps(configuration))
    assert (found, found.name) == (configuration, "lr=0.01")


def test_a_parameter_without_default_is_in_every_name() -> None:
    space = Space((Categorical("optimizer", choices=("adam", "sgd")), Int("width", 1, 9, default=3)))
    assert space.default is None
    assert space.configuration({"optimizer": "adam"}).name == "optimizer=adam"
    with pytest.raises(InvalidValue) as caught:
        space.configuration({})
    assert caught.value.name == "optimizer"


def test_the_first_difference_with_a_group_gives_the_group() -> None:
    space = Space(
        (
            Int("a", 0, 9, default=0),
            Int("b", 0, 9, default=0, group="capacity"),
            Int("c", 0, 9, default=0, group="noise"),
        )
    )
    groups = [space.configuration(changes).group for changes in ({"a": 1}, {"a": 1, "c": 1}, {"b": 1, "c": 1})]
    assert groups == ["other", "noise", "capacity"]


def test_a_long_name_keeps_whole_first_differences_and_ends_in_a_hash() -> None:
    space = Space(tuple(Int(f"a_long_parameter_{i}", 0, 99, default=0) for i in range(20)))
    first = space.configuration({name: 10 for name in space.names})
    second = first.replace(a_long_parameter_19=11)
    digest = hashlib.sha256(first.to_json().encode()).hexdigest()[:8]
    assert first.name == ",".join(f"a_long_parameter_{i}=10" for i in range(4)) + f",+16 more ({digest})"
    assert len(first.name) <= LONGEST_NAME
    assert first.name != second.name


def test_a_first_difference_that_is_too_long_leaves_the_hash_alone() -> None:
    name = Space((Categorical("path", choices=("x" * 130, "y" * 130)),)).configuration({"path": "x" * 130}).name
    assert name.startswith("+1 more (")


def test_a_copy_with_changes_leaves_out_what_is_not_in_use_any_more() -> None:
    momentum = Float("momentum", 0, 1, default=0.9, when={"optimizer": ("sgd",)})
    space = Space((Categorical("optimizer", choices=("adam", "sgd"), default="adam"), momentum))
    sgd = space.configuration({"optimizer": "sgd", "momentum": 0.5})
    assert sgd.replace(optimizer="adam") == {"optimizer": "adam"}
    assert space.configuration({}).replace(optimizer="sgd") == {"optimizer": "sgd", "momentum": 0.9}
    with pytest.raises(InvalidValue) as caught:
        sgd.replace(optimizer="adam", momentum=0.5)
    assert (caught.value.name, caught.value.value) == ("momentum", 0.5)


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"arch": "resnet50"}, "arch", "resnet50"),
        ({"learning_rate": 0}, "learning_rate", 0),
        ({"learning_rate": "fast"}, "learning_rate", "fast"),
        ({"learning_rate": None}, "learning_rate", None),
        ({"stem_channels_1": 4.5}, "stem_channels_1", 4.5),
        ({"stem_channels_2": 1025}, "stem_channels_2", 1025),
        ({"flip_probability": 1.1}, "flip_probability", 1.1),
        ({"optimizer": "Adam"}, "optimizer", "Adam"),
        ({"label_smoothing": 1}, "label_smoothing", 1),
        ({"label_smoothing": True}, "label_smoothing", True),
        ({"batch_size": 1}, "batch_size", 1),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_value(changes: dict[str, Any], name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        IMAGES.configuration(changes)
    assert (caught.value.name, caught.value.value) == (name, value)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        IMAGES.configuration({"learning_rat": 1})
    assert caught.value.value == "learning_rat"
    assert "learning_rate" in caught.value.rule


@pytest.mark.parametrize("text", ["", "3", "[]", '{"learning_rate": NaN}', '{"learning_rate": -1}', '{"width": 3}'])
def test_json_that_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        IMAGES.configuration_from_json(text)


LARGE = Space.of(large_content(), "large.yaml")
IMAGE_CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "arch": st.sampled_from(("xresnet50", "xresnet18")),
        "learning_rate": st.floats(1e-12, 1e6),
        "stem_channels_1": st.integers(1, 1024),
        "stem_channels_2": st.integers(1, 1024),
        "flip_probability": st.floats(0, 1),
        "batch_size": st.integers(2, 10**15),
    },
).map(IMAGES.configuration)
UNITS = st.floats(0, 1, exclude_max=True)
LARGE_CONFIGURATIONS = st.fixed_dictionaries({parameter.name: UNITS for parameter in LARGE.tunable}).map(
    LARGE.from_unit
)
ODD_TEXTS = ("a", "a-b", "b", "a,y=b", "a=b", "'", "b,y=a", "1", "a b")
ODD = Space(
    (
        Categorical("x", choices=ODD_TEXTS, label="l"),
        Categorical("y", choices=ODD_TEXTS, label="l"),
        Categorical("z", choices=ODD_TEXTS, default="a"),
        Categorical("y2", choices=ODD_TEXTS, label="y", default="a"),
    )
)
ODD_CONFIGURATIONS = st.fixed_dictionaries({name: st.sampled_from(ODD_TEXTS) for name in ODD.names}).map(
    ODD.configuration
)


@given(st.one_of(IMAGE_CONFIGURATIONS, LARGE_CONFIGURATIONS, ODD_CONFIGURATIONS))
def test_json_gives_the_configuration_back(configuration: Configuration) -> None:
    assert configuration.space.configuration_from_json(configuration.to_json()) == configuration


@given(
    st.sampled_from((IMAGE_CONFIGURATIONS, LARGE_CONFIGURATIONS, ODD_CONFIGURATIONS)).flatmap(lambda s: st.tuples(s, s))
)
def test_different_configurations_have_different_names(pair: tuple[Configuration, Configuration]) -> None:
    first, second = pair
    assert (first.name == second.name) == (first == second)
    assert max(len(first.name), len(second.name)) <= LONGEST_NAME


def test_all_pairs_of_odd_texts_have_names_of_their_own() -> None:
    names = {ODD.configuration({"x": x, "y": y}).name for x in ODD_TEXTS for y in ODD_TEXTS}
    assert len(names) == len(ODD_TEXTS) ** 2
