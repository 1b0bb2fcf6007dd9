"""A grid decides what a study compares: one configuration more or less and results are not the published ones."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from proxyflow.errors import InvalidValue, UserError
from proxyflow.training.grids import grids, load_grid, parse_grid
from proxyflow.training.hyperparameters import Hyperparameters

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


def test_the_published_grid_is_the_36_of_the_contract() -> None:
    grid = load_grid("paper")
    assert len(PAPER) == 36
    assert Counter(configuration.name for configuration in grid) == Counter(PAPER)


def test_the_published_grid_has_20_configurations_of_the_learning_rate_and_16_others() -> None:
    assert Counter(configuration.group for configuration in load_grid("paper")) == {"learning-rate": 20, "other": 16}


def test_the_published_grid_begins_with_the_default() -> None:
    assert load_grid("paper")[0] == Hyperparameters()


def test_the_narrow_grid_is_the_published_one_with_other_networks() -> None:
    networks = {"xresnet50": "xresnet18-w16", "xresnet18": "xresnet10-w16", "xresnet101": "xresnet34-w16"}
    published = load_grid("paper")
    expected = [dataclasses.replace(each, arch=networks[each.arch]) for each in published]
    assert list(load_grid("paper-narrow")) == expected


def test_the_demo_grid_is_of_one_small_network_and_has_no_configuration_twice() -> None:
    grid = load_grid("demo")
    assert {configuration.arch for configuration in grid} == {"xresnet18"}
    assert len(set(grid)) == len(grid) == 8


@pytest.mark.parametrize("name", list(grids))
def test_no_two_configurations_of_a_grid_share_a_name(name: str) -> None:
    names = [configuration.name for configuration in load_grid(name)]
    assert len(set(names)) == len(names)


def test_a_file_is_a_list_of_differences_from_the_default(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("- {}\n- learning_rate: 1e-2\n- stem_channels_1: 4\n  optimizer: sgd\n", encoding="utf-8")
    assert [configuration.name for configuration in load_grid(str(path))] == ["default", "lr=0.01", "stem=4-32,opt=sgd"]


def test_a_base_is_common_to_all_and_a_configuration_may_overrule_it() -> None:
    grid = parse_grid(
        "base: {arch: xresnet18, label_smoothing: 0}\nconfigurations:\n- {}\n-\n  arch: xresnet34\n", "grid.yaml"
    )
    assert [configuration.name for configuration in grid] == ["arch=xresnet18,smooth=0", "arch=xresnet34,smooth=0"]


def test_a_mapping_needs_no_base_and_an_empty_entry_is_the_default() -> None:
    assert parse_grid("configurations:\n-\n- optimizer: sgd\n", "grid.yaml") == (
        Hyperparameters(),
        Hyperparameters(optimizer="sgd"),
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("- {}\n- {lr: 0.01}", ["configuration 2", "lr", "learning_rate"]),
        ("- {learning_rat: 0.01}", ["configuration 1", "did you mean learning_rate?"]),
        ("- {}\n- {learning_rate: -1}", ["configuration 2: learning_rate=-1", "above 0"]),
        ("- {epochs: 3}", ["configuration 1", "epochs"]),
        ("- {1: 3}", ["configuration 1", "1"]),
        ("- 0.01", ["configuration 1", "0.01", "mapping"]),
        ("- [learning_rate, 0.01]", ["configuration 1", "mapping"]),
        ("base: {optimizer: adamw}\nconfigurations: [{}]", ["configuration 1: optimizer=adamw", "adam, sgd, rmsprop"]),
        ("base: {bogus: 1}\nconfigurations: [{}]", ["configuration 1", "bogus"]),
        ("base: [1]\nconfigurations: [{}]", ["list of configurations"]),
        ("grid: [{}]", ["grid", "base, configurations"]),
        ("base: {}", ["list of configurations"]),
        ("[]", ["list of configurations"]),
        ("", ["list of configurations"]),
        ("3", ["list of configurations"]),
        ("- {a: [}", ["not YAML"]),
    ],
)
def test_a_wrong_file_is_refused_by_its_name_entry_and_key(text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse_grid(text, "my-grid.yaml")
    message = str(caught.value)
    assert "my-grid.yaml" in message
    assert "\n" not in message
    assert all(part in message for part in parts)


@pytest.mark.parametrize(
    "text",
    [
        "- {}\n- {optimizer: sgd}\n- {optimizer: sgd}",
        "- {optimizer: sgd}\n- {}\n- {learning_rate: 0.003, optimizer: sgd}",
        "base: {optimizer: sgd}\nconfigurations: [{arch: xresnet18}, {optimizer: adam}, {optimizer: adam}]",
    ],
)
def test_a_configuration_named_twice_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"grid\.yaml: configuration 3 is (opt=sgd|default) a second time"):
        parse_grid(text, "grid.yaml")


def test_an_unknown_grid_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidValue, match=r"grid=papr .*paper, paper-narrow, demo, or the path of a \.yaml file"):
        load_grid("papr")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(InvalidValue, match=r"absent\.yaml is not accepted: no such file"):
        load_grid(str(path))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"- {}\n\xff\xfe")
    with pytest.raises(UserError, match=r"binary\.yaml"):
        load_grid(str(path))
