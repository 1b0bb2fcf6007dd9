"""A grid decides what a study compares: a wrong file must not become a study of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from example_spaces import IMAGES

from proxyflow.core.errors import InvalidValue, UnknownName, UserError
from proxyflow.spaces.grids import Grid, grid_of, is_grid_file, load_grid
from proxyflow.spaces.space import Space


def three() -> Grid:
    return tuple(IMAGES.configuration({"optimizer": name}) for name in ("adam", "sgd", "rmsprop"))


NAMED = {"three": three, "default": lambda: (IMAGES.configuration({}),)}


def load(text: object, space: Space | None = IMAGES) -> Grid:
    return load_grid(str(text), space, NAMED)


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def names(grid: Grid) -> list[str]:
    return [configuration.name for configuration in grid]


def test_a_name_gives_the_grid_that_has_it() -> None:
    assert load("three") == three()


def test_a_file_is_a_list_of_differences_from_the_default(tmp_path: Path) -> None:
    path = written(
        tmp_path, "- {}\n- learning_rate: 1e-2\n- stem_channels_1: 4\n  optimizer: sgd\n-\n  arch: xresnet18\n"
    )
    assert names(load(path)) == ["default", "lr=0.01", "stem=4-32,opt=sgd", "arch=xresnet18"]


def test_a_base_is_common_to_all_and_a_configuration_may_overrule_it(tmp_path: Path) -> None:
    text = "base: {arch: xresnet18, label_smoothing: 0}\nconfigurations:\n- {}\n-\n  arch: xresnet34\n"
    assert names(load(written(tmp_path, text))) == ["arch=xresnet18,smooth=0", "arch=xresnet34,smooth=0"]


def test_a_mapping_needs_no_base_and_an_empty_entry_is_the_default() -> None:
    assert names(grid_of({"configurations": [None, {"optimizer": "sgd"}]}, "grid", IMAGES)) == ["default", "opt=sgd"]


CONDITIONAL = Space.of(
    {"optimizer": ["adam", "sgd"], "momentum": {"low": 0.0, "high": 1.0, "when": {"optimizer": "sgd"}}}, "x"
)


def test_a_base_holds_only_where_its_hyperparameters_are_in_use() -> None:
    content = {"base": {"momentum": 0.9}, "configurations": [{"optimizer": "adam"}, {"optimizer": "sgd"}]}
    assert grid_of(content, "grid", CONDITIONAL) == (
        CONDITIONAL.configuration({"optimizer": "adam"}),
        CONDITIONAL.configuration({"optimizer": "sgd", "momentum": 0.9}),
    )


@pytest.mark.parametrize(
    ("content", "name", "value"),
    [
        ([{}, {"lr": 0.01}], "configuration 2: hyperparameter", "lr"),
        ([{}, {"learning_rate": -1}], "configuration 2: learning_rate", -1),
        ([{1: 3}], "configuration 1: hyperparameter", 1),
        ({"base": {"optimizer": "adamw"}, "configurations": [{}]}, "configuration 1: optimizer", "adamw"),
        ({"base": {"bogus": 1}, "configurations": [{}]}, "configuration 1: hyperparameter", "bogus"),
        ({"base": {}, "configuration": [{}]}, "key", "configuration"),
    ],
)
def test_a_wrong_value_is_refused_by_file_entry_and_key(content: Any, name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        grid_of(content, "my-grid.yaml", IMAGES)
    assert (caught.value.name, caught.value.value) == (f"my-grid.yaml: {name}", value)


def test_lists_of_values_mean_all_combinations(tmp_path: Path) -> None:
    grid = load(written(tmp_path, "optimizer: [adam, sgd]\nlearning_rate: [0.01, 0.1]\nbatch_size: 32"))
    assert [(each["optimizer"], each["learning_rate"], each["batch_size"]) for each in grid] == [
        ("adam", 0.01, 32),
        ("adam", 0.1, 32),
        ("sgd", 0.01, 32),
        ("sgd", 0.1, 32),
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- 0.01", "configuration 1"),
        ("- {}\n- [learning_rate, 0.01]", "configuration 2"),
        ("- {optimizer: sgd}\n- {}\n- {learning_rate: 0.003, optimizer: sgd}", "configuration 3 is opt=sgd"),
        ("base: [1]\nconfigurations: [{}]", "list of configurations"),
        ("learning_rate: {low: 0.01, high: 0.1}", "space.yaml@36"),
        ("{}", "empty"),
        ("base: {}", "list of configurations"),
        ("[]", "list of configurations"),
        ("", "list of configurations"),
        ("3", "list of configurations"),
        ("- {a: [}", "not YAML"),
        ("- {optimizer: sgd, optimizer: adam}", "not YAML"),
    ],
)
def test_another_form_is_refused_by_file_and_what_it_should_be(tmp_path: Path, text: str, part: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_grid_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidValue) as caught:
        load("thre")
    assert (caught.value.name, caught.value.value) == ("grid", "thre")
    assert "three, default" in caught.value.rule


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        load(tmp_path / "absent.yaml")
    assert (caught.value.name, caught.value.value) == ("grid", str(tmp_path / "absent.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"- {}\n\xff\xfe")
    with pytest.raises(UserError, match=r"binary\.yaml"):
        load(tmp_path / "binary.yaml")


# A trainer that takes anything.


def test_without_a_space_the_base_has_what_an_entry_does_not() -> None:
    content = {
        "base": {"lr": "1e-2", "model": "small"},
        "configurations": [{}, {"lr": 1}, {"model": "large", "lr": 0.3}],
    }
    grid = grid_of(content, "grid.yaml", None)
    assert [dict(each) for each in grid] == [
        {"lr": 0.01, "model": "small"},
        {"lr": 1.0, "model": "small"},
        {"lr": 0.3, "model": "large"},
    ]
    assert names(grid) == ["lr=0.01,model=small", "lr=1,model=small", "lr=0.3,model=large"]


def test_without_a_space_a_name_is_of_the_same_values_in_every_grid() -> None:
    one, two = grid_of([{"b": 1, "a": 2}, {"a": 3, "b": 1}], "x", None), grid_of([{"a": 2, "b": 1}], "x", None)
    other = grid_of({"base": {"a": 4}, "configurations": [{"b": 1}]}, "x", None)
    assert names(one) == ["a=2,b=1", "a=3,b=1"]
    assert (names(two), names(other)) == (["a=2,b=1"], ["a=4,b=1"])


def test_without_a_space_and_a_base_every_value_is_in_the_name() -> None:
    grid = grid_of([{"lr": 0.1, "bias": True}, {"lr": 0.1, "bias": False}], "grid.yaml", None)
    assert names(grid) == ["bias=true,lr=0.1", "bias=false,lr=0.1"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ([{"lr": 0.1, "width": 3}, {"lr": 0.2}], "configuration 2: width"),
        ([{"layers": [1, 2]}], "layers.choices"),
        ([{"a b": 1}], "hyperparameter"),
        ({"base": {"lr": None}, "configurations": [{"lr": 1}]}, "lr.choices"),
    ],
)
def test_without_a_space_values_must_be_complete_and_plain(content: Any, name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        grid_of(content, "grid.yaml", None)
    assert caught.value.name == f"grid.yaml: {name}"


# Draws from a space.

SPACE = "learning_rate: {low: 1e-4, high: 1e-1, log: true}\noptimizer: [adam, sgd]\n"


def test_a_space_with_a_number_is_that_many_draws(tmp_path: Path) -> None:
    path = written(tmp_path, SPACE)
    assert load(f"{path}@36") == Space.load(path, IMAGES).sample(36, seed=0)
    assert load(f"{path}@36,seed=5") == Space.load(path, IMAGES).sample(36, seed=5)
    assert load(f"{path}@36", None) == Space.load(path).sample(36, seed=0)
    assert load(f"{path}@36")[0].name.startswith("lr=")
    assert load(f"{path}@36", None)[0].name.startswith("learning_rate=")


@pytest.mark.parametrize("draws", ["", "many", "0", "1.5", "-3", "36,seed=x", "36,", "36@2", "36,seed=1,seed=2"])
def test_what_is_no_number_of_draws_is_refused(tmp_path: Path, draws: str) -> None:
    with pytest.raises(InvalidValue):
        load(f"{written(tmp_path, SPACE)}@{draws}")


def test_more_draws_than_there_are_configurations_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "optimizer: [adam, sgd]\narch: [xresnet18, xresnet34, xresnet50]\n")
    with pytest.raises(InvalidValue) as caught:
        load(f"{path}@7")
    assert caught.value.value == 7
    assert "6" in caught.value.rule


def test_a_wrong_space_is_refused_by_its_file(tmp_path: Path) -> None:
    path = written(tmp_path, "momentum: [0.9]\n")
    with pytest.raises(UnknownName) as caught:
        load(f"{path}@2")
    assert caught.value.name == f"{path}: hyperparameter"
    with pytest.raises(InvalidValue) as missing:
        load(f"{tmp_path}/absent.yaml@2")
    assert missing.value.value == f"{tmp_path}/absent.yaml"


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("a.yaml", True),
        ("x/a.YML", True),
        ("a.yaml@3", True),
        ("u@h/a.yaml@3,seed=1", True),
        ("paper", False),
        ("a@3", False),
    ],
)
def test_a_file_is_known_by_its_name(text: str, is_file: bool) -> None:
    assert is_grid_file(text) is is_file
