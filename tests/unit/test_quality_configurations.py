"""A configuration is what its values are: two that differ in one of them, and the one that others vary."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from made_up import training, trainings_frame, values_of

from proxyflow.quality.configurations import ABSENT, Configurations, Setting
from proxyflow.trainers.images.grids import grids


def of(*configs: str, **changes: Any) -> Configurations:
    return Configurations.of(trainings_frame([training("full", config, **changes) for config in configs]))


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        (["arch=xresnet18", "default", "lr=0.1"], "default"),
        # A grid for other networks: the one that is varied, not those that it is varied to.
        (
            ["arch=xresnet10-w16", "arch=xresnet18-w16,lr=0.1", "arch=xresnet18-w16,opt=sgd", "arch=xresnet18-w16"],
            "arch=xresnet18-w16",
        ),
        (["lr=0.1", "a name without values"], None),
        # Each differs from the other in two: neither varies the other.
        (["lr=0.1", "opt=sgd"], None),
        ([], None),
    ],
)
def test_the_default_is_what_the_others_vary(configs: list[str], expected: str | None) -> None:
    assert of(*configs).default == expected


@pytest.mark.parametrize(
    ("grid", "expected"), [("paper", "default"), ("demo", "arch=xresnet18"), ("paper-narrow", "arch=xresnet18-w16")]
)
def test_the_default_of_a_grid(grid: str, expected: str) -> None:
    assert of(*(each.name for each in grids[grid]())).default == expected


def test_configurations_drawn_at_random_have_no_default() -> None:
    texts = [json.dumps({"a": number / 7, "b": number**2}) for number in range(9)]
    rows = [training("full", f"number {number}", config_json=text) for number, text in enumerate(texts)]
    assert Configurations.of(trainings_frame(rows)).default is None


def test_settings_are_the_values_and_whether_they_differ_from_the_default() -> None:
    found = {each.name: each for each in of("default", "lr=0.01,stem=4-32").settings_of("lr=0.01,stem=4-32")}
    assert found["learning_rate"] == Setting("learning_rate", "0.01", True)
    assert [name for name, each in found.items() if each.differs] == ["learning_rate", "stem_channels_1"]
    assert of("default").settings_of("unknown") == ()
    assert not any(each.differs for each in of("lr=0.1", "opt=sgd").settings_of("lr=0.1")), "nothing to differ from"


def test_names_say_nothing() -> None:
    """Names that look like values, with other values."""
    values = {"lr=0.1": {"depth": 3}, "lr=0.01": {"depth": 4}}
    rows = [training("full", name, config_json=json.dumps(each)) for name, each in values.items()]
    found = Configurations.of(trainings_frame(rows))
    assert found.values == values
    names, codes = found.coded(["lr=0.1", "lr=0.01", "of another study"])
    assert names == ["depth"]
    assert codes[0] != codes[1]
    assert codes[2].tolist() == [ABSENT]


def test_values_of_the_target_count_where_a_proxy_trained_with_others() -> None:
    """Synthetic data are trained on in smaller batches, which earlier versions logged as the configuration's."""
    rows = [
        *[training("distilled:10", "default", config_json='{"batch_size": 10}', seed=seed) for seed in range(5)],
        training("full", "default", config_json='{"batch_size": 64}'),
        *[training("distilled:10", "lr=1", config_json='{"batch_size": 10}', seed=seed) for seed in range(2)],
        training("random:0.1", "lr=1", config_json='{"batch_size": 64}'),
    ]
    found = Configurations.of(trainings_frame(rows)).values
    assert found["default"] == {"batch_size": 64}
    assert found["lr=1"] == {"batch_size": 10}, "most of those that there are"


@pytest.mark.parametrize("text", ["", "nonsense", "[1, 2]", "null", '"text"'])
def test_what_is_no_json_object_is_not_known(text: str) -> None:
    found = Configurations.of(trainings_frame([training("full", "default", config_json=text)]))
    assert found.values == {"default": {}}


def test_numbers_are_equal_by_value_and_lists_by_content() -> None:
    texts = ['{"p": 0, "widths": [1, 2]}', '{"p": 0.0, "widths": [1, 2]}', '{"p": 1, "widths": [2, 1]}', "{}"]
    rows = [training("full", f"c{number}", config_json=text) for number, text in enumerate(texts)]
    names, codes = Configurations.of(trainings_frame(rows)).coded(["c0", "c1", "c2", "c3"])
    assert names == ["p", "widths"]
    assert (codes[0] == codes[1]).all()
    assert (codes[0] != codes[2]).all()
    assert (codes[3] == ABSENT).all()


def test_the_order_of_the_runs_changes_nothing() -> None:
    frame = trainings_frame([training("full", config) for config in ("lr=0.1", "default", "opt=sgd", "flip=0")])
    one, other = (Configurations.of(each) for each in (frame, frame.iloc[::-1]))
    assert list(one.values.items()) == list(other.values.items())


def test_no_runs_have_no_configurations() -> None:
    empty = Configurations.of(pd.DataFrame(columns=["config", "strategy", "config_json"]))
    assert (empty.values, empty.default) == ({}, None)
    assert json.loads(values_of("default"))["learning_rate"] == 0.003
