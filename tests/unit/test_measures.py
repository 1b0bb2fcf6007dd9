"""A subset is only as good as its ranking, so every measure is held against a computation of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from proxyflow.scoring.measures import el2n, entropy, forgetting_events, loss, margin, measures

NAN = math.nan


def probabilities(row: Sequence[float]) -> list[float]:
    """Softmax by its definition, which is exact enough while no exponential overflows."""
    exponentials = [math.exp(value) for value in row]
    total = math.fsum(exponentials)
    return [value / total for value in exponentials]


def plain_loss(row: Sequence[float], label: int) -> float:
    return math.log(math.fsum(math.exp(value - row[label]) for value in row))


def plain_margin(row: Sequence[float], label: int) -> float:
    return row[label] - max(value for position, value in enumerate(row) if position != label)


def plain_entropy(row: Sequence[float], label: int) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities(row) if p > 0)


def plain_el2n(row: Sequence[float], label: int) -> float:
    errors = [p - (position == label) for position, p in enumerate(probabilities(row))]
    return math.sqrt(math.fsum(error**2 for error in errors))


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("loss", plain_loss),
        ("heldout_loss", plain_loss),
        ("margin", plain_margin),
        ("entropy", plain_entropy),
        ("el2n", plain_el2n),
    ],
)
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_a_measure_agrees_with_its_definition(
    name: str, plain: Callable[[Sequence[float], int], float], scale: float
) -> None:
    rng = np.random.default_rng(0)
    logits = scale * rng.normal(size=(200, 7))
    labels = rng.integers(0, 7, 200)
    expected = [plain(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    measured = measures[name].from_logits(logits, labels)
    assert measured.dtype == np.float64
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-9)


def test_entropy_where_a_probability_underflows_to_zero_is_zero() -> None:
    logits = np.array([[800.0, 0.0, 0.0], [0.0, 0.0, 1e6]])
    assert entropy(logits, np.array([0, 0])).tolist() == [0.0, 0.0]


def test_entropy_of_a_class_that_is_impossible_is_that_of_the_others() -> None:
    logits = np.array([[0.0, -np.inf], [0.0, 0.0]])
    np.testing.assert_allclose(entropy(logits, np.array([0, 0])), [0.0, math.log(2)], rtol=0, atol=1e-12)


def test_entropy_is_largest_where_the_model_knows_nothing_and_ignores_the_label() -> None:
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
    values = entropy(logits, np.array([0, 0]))
    assert values[0] == pytest.approx(math.log(4), abs=1e-12)
    assert values[1] < values[0]
    assert np.array_equal(entropy(logits, np.array([3, 2])), values)


def test_loss_still_tells_examples_apart_at_a_logit_gap_of_40() -> None:
    logits = np.array([[38.0, 0.0], [40.0, 0.0], [42.0, 0.0]])
    values = loss(logits, np.array([0, 0, 0]))
    assert values[1] > 0
    assert values[0] > values[1] > values[2]


def test_loss_of_a_hopeless_example_is_finite_and_grows_with_the_gap() -> None:
    values = loss(np.array([[0.0, 1000.0], [0.0, 2000.0]]), np.array([0, 0]))
    np.testing.assert_allclose(values, [1000.0, 2000.0])


def test_margin_is_negative_exactly_where_the_model_is_wrong() -> None:
    logits = np.random.default_rng(1).normal(size=(500, 5))
    labels = np.random.default_rng(2).integers(0, 5, 500)
    wrong = logits.argmax(axis=1) != labels
    assert wrong.any()
    assert np.array_equal(margin(logits, labels) < 0, wrong)


def test_margin_leaves_the_logits_as_they_were() -> None:
    logits = np.array([[1.0, 2.0], [4.0, 3.0]])
    assert margin(logits, np.array([0, 0])).tolist() == [-1.0, 1.0]
    assert logits.tolist() == [[1.0, 2.0], [4.0, 3.0]]


def test_el2n_goes_from_0_where_sure_and_right_to_root_2_where_sure_and_wrong() -> None:
    logits = np.array([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]])
    np.testing.assert_allclose(el2n(logits, np.array([0, 0])), [0.0, math.sqrt(2)], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("history", "events"),
    [
        ([1, 1, 1, 1, 1], 0),
        ([0, 0, 1, 1, 1], 0),
        ([1, 0, 1, 0, 1], 2),
        ([0, 1, 0, 0, 0], 1),
        ([1, 0, 0, 1, 0], 2),
        # Never learnt ranks above everything that was learnt and forgotten, which at most every second time is.
        ([0, 0, 0, 0, 0], 5),
        # Consecutive presentations are meant, so an epoch that left the example out neither counts nor hides one.
        ([1, NAN, 0, 1, NAN], 1),
        ([1, NAN, 1, NAN, 1], 0),
        ([NAN, 1, NAN, NAN, 0], 1),
        ([NAN, 0, NAN, 0, NAN], 5),
        ([NAN, NAN, NAN, NAN, 1], 0),
        ([NAN, NAN, NAN, NAN, NAN], 5),
    ],
)
def test_forgetting_events_of_a_history_counted_by_hand(history: list[float], events: int) -> None:
    column = np.array(history, dtype=np.float64)[:, None]
    assert forgetting_events(column, np.array([0])).tolist() == [events]


def test_forgetting_events_count_each_example_by_itself() -> None:
    history = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]], dtype=np.float64)
    assert forgetting_events(history, np.zeros(3, dtype=np.int64)).tolist() == [1.0, 3.0, 0.0]


def test_hardness_turns_the_margin_round_and_nothing_else() -> None:
    values = np.array([-1.0, 2.0])
    turned = {name for name, measure in measures.items() if np.array_equal(measure.hardness(values), -values)}
    assert turned == {"margin"}
    assert all(np.array_equal(measures[name].hardness(values), values) for name in set(measures) - turned)
