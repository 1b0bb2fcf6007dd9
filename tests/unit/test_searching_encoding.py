"""Configurations become points whose distances mean something."""

from __future__ import annotations

import numpy as np
import pytest

from proxyflow.searching.encoding import encode
from proxyflow.spaces.parameters import Categorical, Float, Int
from proxyflow.spaces.space import Space


def test_numbers_go_from_0_to_1_by_magnitude_where_they_are_of_magnitudes() -> None:
    space = Space((Float("rate", 1e-4, 1.0, log=True), Int("layers", 2, 6), Float("open", 0, above=True)))
    values = [{"rate": 1e-4, "layers": 2, "open": 0.1}, {"rate": 1e-2, "layers": 6, "open": 100.0}]
    values.append({"rate": 1.0, "layers": 3, "open": 1.0})
    np.testing.assert_allclose(encode(space, values), [[0, 0, 0], [0.5, 1, 1], [1, 0.25, 1 / 3]], atol=1e-12)


def test_choices_that_are_numbers_are_steps_and_others_are_equally_far() -> None:
    space = Space((Categorical("batch", choices=(16, 32, 64, 128)), Categorical("optimizer", choices=("a", "b", "c"))))
    points = encode(space, [{"batch": batch, "optimizer": name} for batch, name in ((16, "a"), (32, "b"), (128, "c"))])
    np.testing.assert_allclose(points[:, 0], [0, 1 / 3, 1])
    distances = [np.linalg.norm(points[a, 1:] - points[b, 1:]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert distances == pytest.approx([1.0] * 3)


def test_what_is_the_same_everywhere_has_no_column() -> None:
    space = Space((Categorical("flag", choices=(True, False)), Float("rate", 0.0, 1.0)))
    assert encode(space, [{"flag": True, "rate": 0.1}, {"flag": True, "rate": 0.2}]).shape == (2, 1)
    assert encode(space, [{"flag": True, "rate": 0.1}] * 2).shape == (2, 0)


def test_a_number_that_is_not_in_use_is_in_the_middle_and_marked() -> None:
    momentum = Float("momentum", 0.0, 1.0, when={"optimizer": ("sgd",)})
    space = Space((Categorical("optimizer", choices=("adam", "sgd")), momentum))
    points = encode(space, [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}])
    assert points[:, 2].tolist() == [0.5, 0.9]
    assert points[0, 3] == 0
    assert points[1, 3] > 0
