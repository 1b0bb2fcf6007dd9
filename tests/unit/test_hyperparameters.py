"""Runs are paired by their configuration's name, so the names are part of what users rely on."""

from __future__ import annotations

from typing import Any

import pytest

from proxyflow.errors import InvalidValue
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "default"),
        ({"arch": "xresnet50", "learning_rate": 0.003, "stem_channels_1": 32}, "default"),
        ({"arch": "xresnet18"}, "arch=xresnet18"),
        ({"learning_rate": 0.01}, "lr=0.01"),
        ({"learning_rate": 0.1}, "lr=0.1"),
        ({"learning_rate": 1e-05}, "lr=1e-05"),
        ({"learning_rate": 1}, "lr=1"),
        ({"stem_channels_1": 4}, "stem=4-32"),
        ({"stem_channels_2": 4}, "stem=32-4"),
        ({"stem_channels_1": 48, "stem_channels_2": 4}, "stem=48-4"),
        ({"flip_probability": 0}, "flip=0"),
        ({"flip_probability": 0.25}, "flip=0.25"),
        ({"optimizer": "sgd"}, "opt=sgd"),
        ({"label_smoothing": 0.0}, "smooth=0"),
        ({"optimizer": "rmsprop", "learning_rate": 0.007}, "lr=0.007,opt=rmsprop"),
    ],
)
def test_a_configuration_is_named_by_its_differences(changes: dict[str, Any], name: str) -> None:
    assert Hyperparameters(**changes).name == name


def test_differences_are_named_in_the_order_of_the_contract() -> None:
    everything = Hyperparameters(
        label_smoothing=0,
        optimizer="sgd",
        flip_probability=0.25,
        stem_channels_2=32,
        stem_channels_1=4,
        learning_rate=0.01,
        arch="xresnet18",
    )
    assert everything.name == "arch=xresnet18,lr=0.01,stem=4-32,flip=0.25,opt=sgd,smooth=0"


def test_values_that_are_written_differently_are_one_configuration() -> None:
    typed = Hyperparameters(learning_rate="1e-2", stem_channels_1="4", flip_probability="0")  # type: ignore[arg-type]
    built = Hyperparameters(learning_rate=0.01, stem_channels_1=4, flip_probability=0.0)
    assert typed == built
    assert hash(typed) == hash(built)
    assert typed.name == "lr=0.01,stem=4-32,flip=0"


def test_a_zero_with_a_sign_is_named_as_zero() -> None:
    assert Hyperparameters(flip_probability=-0.0).name == Hyperparameters(flip_probability=0.0).name


@pytest.mark.parametrize(
    ("changes", "group"),
    [
        ({}, "other"),
        ({"arch": "xresnet18"}, "other"),
        ({"learning_rate": 0.003, "optimizer": "sgd"}, "other"),
        ({"learning_rate": 0.01}, "learning-rate"),
        ({"learning_rate": 0.01, "optimizer": "sgd"}, "learning-rate"),
    ],
)
def test_a_changed_learning_rate_decides_the_group(changes: dict[str, Any], group: str) -> None:
    assert Hyperparameters(**changes).group == group


def test_the_differences_are_the_settings_that_are_not_at_their_default() -> None:
    assert Hyperparameters(optimizer="sgd", learning_rate=0.01).differences == {
        "learning_rate": 0.01,
        "optimizer": "sgd",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "resnet50"}, "arch=resnet50 .*xresnet50, xresnet18"),
        ({"learning_rate": 0}, "learning_rate=0 .*above 0"),
        ({"learning_rate": "fast"}, "learning_rate=fast .*number"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"stem_channels_1": 4.5}, r"stem_channels_1=4\.5 .*whole number"),
        ({"stem_channels_2": 0}, "stem_channels_2=0 .*at least 1"),
        ({"flip_probability": 1.1}, r"flip_probability=1\.1 .*at most 1"),
        ({"optimizer": "Adam"}, "optimizer=Adam .*adam, sgd, rmsprop"),
        ({"label_smoothing": 1}, "label_smoothing=1 .*below 1"),
        ({"label_smoothing": True}, "label_smoothing=True"),
    ],
)
def test_a_wrong_value_is_refused_by_name_value_and_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Hyperparameters(**changes)


def test_what_a_study_holds_fixed_has_the_published_defaults() -> None:
    settings = TrainingSettings()
    assert (settings.epochs, settings.batch_size, settings.weight_decay) == (20, 64, 0.01)
    assert settings.image_size is None
    assert TrainingSettings(image_size="auto") == settings  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0 .*at least 1"),
        ({"epochs": 2.5}, r"epochs=2\.5 .*whole"),
        ({"batch_size": 1}, "batch_size=1 .*at least 2"),
        ({"image_size": 4}, "image_size=4 .*auto, or a whole number"),
        ({"weight_decay": -1}, "weight_decay=-1"),
        ({"precision": "fp64"}, "precision=fp64 .*auto, fp32, fp16, bf16"),
    ],
)
def test_a_wrong_fixed_setting_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        TrainingSettings(**changes)


def test_a_changed_copy_is_checked_too() -> None:
    assert TrainingSettings(batch_size=32).replace(epochs="3") == TrainingSettings(epochs=3, batch_size=32)
    with pytest.raises(InvalidValue, match="epochs=0"):
        TrainingSettings().replace(epochs=0)
