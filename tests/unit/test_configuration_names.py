"""A configuration is known by its name alone once its run is logged, so every name must lead back to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.errors import InvalidValue
from proxyflow.quality.options import Setting
from proxyflow.report.vocabulary import VOCABULARY, settings_by_name
from proxyflow.training.architectures import ARCHITECTURES
from proxyflow.training.grids import load_grid
from proxyflow.training.hyperparameters import Hyperparameters


@pytest.mark.parametrize("grid", ["paper", "demo"])
def test_every_configuration_of_a_grid_is_found_again_by_its_name(grid: str) -> None:
    configurations = load_grid(grid)
    assert len(configurations) == {"paper": 36, "demo": 8}[grid]
    for each in configurations:
        assert Hyperparameters.from_name(each.name) == each
    assert len({each.name for each in configurations}) == len(configurations)


# Names keep 12 digits, more than anybody types.
decimals = st.integers(1, 10**9).map(lambda n: n / 10**6)


@given(
    st.builds(
        Hyperparameters,
        arch=st.sampled_from(list(ARCHITECTURES)),
        learning_rate=decimals | st.sampled_from([1e-12, 1e-05, 0.003, 1e6]),
        stem_channels_1=st.integers(1, 1024),
        stem_channels_2=st.integers(1, 1024),
        flip_probability=st.integers(0, 1000).map(lambda n: n / 1000),
        optimizer=st.sampled_from(["adam", "sgd", "rmsprop"]),
        label_smoothing=st.integers(0, 999).map(lambda n: n / 1000),
    )
)
def test_any_configuration_is_found_again_by_its_name(configuration: Hyperparameters) -> None:
    found = Hyperparameters.from_name(configuration.name)
    assert found == configuration
    assert found.name == configuration.name
    told = {each.name: each for each in settings_by_name(configuration.name)}
    assert {name for name, each in told.items() if each.differs} == set(configuration.differences)
    for name, value in configuration.differences.items():
        assert told[name].value == str(value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Default",
        "default,lr=0.01",
        "lr=0.01,",
        "mixup=0.4",
        "LR=0.01",
        "lr = 0.01",
        "stem=4",
        "stem=4-32-48",
        "stem=-4-32",
        "lr=0.01,lr=0.1",
        "stem=4-32,stem=4-4",
        "lr=0.003,lr=0.003",
    ],
)
def test_what_is_no_name_of_a_configuration_is_refused_with_value_rule_and_example(name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Hyperparameters.from_name(name)
    message = str(caught.value)
    assert message.startswith(f"config={name} is not accepted: it must be default, or differences such as lr=0.01")
    assert "arch, lr, stem, flip, opt, smooth" in message
    assert settings_by_name(name) == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lr=fast", r"learning_rate=fast is not accepted: it must be a number above 0 \(for example 0\.003\)"),
        ("lr", r"learning_rate= is not accepted"),
        ("lr=nan", "learning_rate=nan is not accepted"),
        ("lr=0", "learning_rate=0 is not accepted"),
        ("opt=sgd,arch=resnet50", "arch=resnet50 is not accepted: it must be one of xresnet50"),
        ("flip=1.5", r"flip_probability=1\.5 is not accepted: .*at most 1 \(for example 0\.5\)"),
        ("stem=4-0", r"stem_channels_2=0 is not accepted: it must be a whole number of at least 1 .*for example 32"),
        ("smooth=1", "label_smoothing=1 is not accepted: .*below 1"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_by_the_settings_own_name(name: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Hyperparameters.from_name(name)
    assert settings_by_name(name) == ()


def test_another_spelling_of_a_configuration_is_the_same_one() -> None:
    expected = Hyperparameters(learning_rate=0.01, optimizer="sgd")
    for name in ("lr=0.01,opt=sgd", "opt=sgd,lr=0.01", "lr=1e-2,opt=sgd", "lr=0.01,opt=sgd,flip=0.5"):
        assert Hyperparameters.from_name(name) == expected


def test_the_vocabulary_tells_every_setting_and_which_differ() -> None:
    assert settings_by_name("lr=0.01,stem=4-32") == (
        Setting("arch", "xresnet50", False),
        Setting("learning_rate", "0.01", True),
        Setting("stem_channels_1", "4", True),
        Setting("stem_channels_2", "32", False),
        Setting("flip_probability", "0.5", False),
        Setting("optimizer", "adam", False),
        Setting("label_smoothing", "0.1", False),
    )
    assert not any(each.differs for each in settings_by_name("default"))


@pytest.mark.parametrize(
    ("strategy", "family", "synthetic"),
    [
        ("full", "Baseline", False),
        ("easiest:0.1", "Easy Examples", False),
        ("hardest:0.5,drop=0.05", "Hard Examples", False),
        ("distilled:10", "Distillation", True),
        ("of a later version:3", "Other", False),
        ("", "Other", False),
    ],
)
def test_the_vocabulary_knows_families_and_what_is_synthetic(strategy: str, family: str, synthetic: bool) -> None:
    assert VOCABULARY.family_of(strategy) == family
    assert VOCABULARY.is_synthetic(strategy) is synthetic
