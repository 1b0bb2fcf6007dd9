"""What the image trainer lets be chosen: its hyperparameters, the published grid of them, and its settings."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from proxyflow.core.errors import InvalidValue
from proxyflow.trainers import ImageTrainer
from proxyflow.trainers.images.grids import demo_grid, grids, paper_grid, paper_narrow_grid
from proxyflow.trainers.images.space import IMAGE_SPACE, image_configuration

RATES = ("0.001", "0.007", "0.01", "0.1")
PAPER = {
    "default",
    "arch=xresnet18",
    "arch=xresnet101",
    *(f"lr={rate}" for rate in RATES),
    *(f"stem={first}-{second}" for first in (4, 32, 48) for second in (4, 32, 48) if (first, second) != (32, 32)),
    "flip=0",
    "flip=0.25",
    "opt=sgd",
    "opt=rmsprop",
    "smooth=0",
    *(f"arch={arch},lr={rate}" for arch in ("xresnet18", "xresnet101") for rate in RATES),
    *(f"lr={rate},opt={optimizer}" for optimizer in ("sgd", "rmsprop") for rate in RATES),
}


def test_defaults_are_the_published_ones() -> None:
    assert dict(IMAGE_SPACE.default or {}) == {
        "arch": "xresnet50",
        "learning_rate": 0.003,
        "stem_channels_1": 32,
        "stem_channels_2": 32,
        "flip_probability": 0.5,
        "optimizer": "adam",
        "label_smoothing": 0.1,
        "batch_size": 64,
        "weight_decay": 0.01,
        "weights": "none",
        "freeze": 0.0,
    }


def test_configurations_of_studies_from_before_there_were_weights_are_the_same() -> None:
    configuration = image_configuration(learning_rate=0.01)
    assert "weights" not in configuration.to_json()
    assert "freeze" not in configuration.to_json()
    assert IMAGE_SPACE.configuration_from_json(configuration.to_json()) == configuration
    tuned = image_configuration(weights="default", freeze=0.25)
    assert IMAGE_SPACE.configuration_from_json(tuned.to_json()) == tuned


def test_every_difference_is_named_in_the_order_of_the_contract() -> None:
    changed = image_configuration(
        weight_decay=0.1,
        batch_size=32,
        label_smoothing=0,
        optimizer="sgd",
        flip_probability=0.25,
        stem_channels_1=4,
        learning_rate=0.01,
        arch="xresnet18",
    )
    assert changed.name == "arch=xresnet18,lr=0.01,stem=4-32,flip=0.25,opt=sgd,smooth=0,bs=32,wd=0.1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arch", "resnet50"),
        ("learning_rate", 0),
        ("learning_rate", "fast"),
        ("learning_rate", float("nan")),
        ("stem_channels_1", 4.5),
        ("stem_channels_2", 0),
        ("flip_probability", 1.1),
        ("optimizer", "Adam"),
        ("label_smoothing", 1),
        ("label_smoothing", True),
        ("batch_size", 1),
        ("weight_decay", -1),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidValue) as raised:
        image_configuration(**{name: value})
    assert raised.value.name == name
    assert str(raised.value.value) == str(value)


@pytest.mark.parametrize(
    ("name", "value"), [("image_size", 4), ("image_size", 8.5), ("precision", "fp64"), ("engine", "slow")]
)
def test_a_wrong_setting_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidValue) as raised:
        ImageTrainer(**{name: value})
    assert (raised.value.name, raised.value.value) == (name, value)


def test_settings_may_be_given_as_they_are_typed() -> None:
    assert ImageTrainer("auto") == ImageTrainer()  # type: ignore[arg-type]
    assert ImageTrainer("32", "FP32".lower()) == ImageTrainer(32, "fp32")  # type: ignore[arg-type]


def test_the_published_grid_is_the_36_of_the_contract() -> None:
    grid = paper_grid()
    assert len(PAPER) == 36
    assert Counter(configuration.name for configuration in grid) == Counter(PAPER)
    assert Counter(configuration.group for configuration in grid) == {"learning-rate": 20, "other": 16}
    assert grid[0] == IMAGE_SPACE.default


def test_the_narrow_grid_is_the_published_one_with_other_networks() -> None:
    networks = {"xresnet50": "xresnet18-w16", "xresnet18": "xresnet10-w16", "xresnet101": "xresnet34-w16"}
    expected = tuple(each.replace(arch=networks[each["arch"]]) for each in paper_grid())
    assert paper_narrow_grid() == expected


def test_the_demo_grid_is_of_one_small_network() -> None:
    assert {configuration["arch"] for configuration in demo_grid()} == {"xresnet18"}


@pytest.mark.parametrize("name", list(grids))
def test_no_two_configurations_of_a_grid_share_a_name(name: str) -> None:
    grid = ImageTrainer.grids[name]()
    assert len({configuration.name for configuration in grid}) == len(grid) > 1


def test_examples_are_scored_with_the_network_that_most_of_the_grid_has() -> None:
    def scoring_arch(*archs: str) -> str:
        grid = tuple(image_configuration(arch=arch) for arch in archs)
        return str(ImageTrainer().scoring_configuration(grid)["arch"])

    assert ImageTrainer().scoring_configuration(paper_grid()) == IMAGE_SPACE.default
    # A study of small networks must not have to train the large default one for its scores.
    assert ImageTrainer().scoring_configuration(paper_narrow_grid()) == image_configuration(arch="xresnet18-w16")
    assert scoring_arch("xresnet34", "xresnet18") == "xresnet34"
    small = tuple(each.replace(batch_size=16, weight_decay=0.0, optimizer="sgd") for each in demo_grid())
    expected = image_configuration(arch="xresnet18", batch_size=16, weight_decay=0.0)
    assert ImageTrainer().scoring_configuration(small) == expected
