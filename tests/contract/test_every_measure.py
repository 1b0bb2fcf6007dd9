"""What holds for every difficulty measure, so that a new one ranks in the stated direction whatever its formula."""

from __future__ import annotations

import numpy as np
import pytest

from proxyflow.scoring.measures import Measure, measures

N, CLASSES, EPOCHS = 50, 7, 9
every_measure = pytest.mark.parametrize("measure", measures.values(), ids=list(measures))
OF_LOGITS = {name: measure for name, measure in measures.items() if measure.needs != "history"}
every_measure_of_logits = pytest.mark.parametrize("measure", OF_LOGITS.values(), ids=list(OF_LOGITS))


def made_up(measure: Measure, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The first and second argument that a measure takes: logits or a history, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, N)
    if measure.needs == "history":
        history = rng.integers(0, 2, (EPOCHS, N)).astype(np.float64)
        history[rng.random(history.shape) < 0.1] = np.nan
        return history, labels
    return 4 * rng.normal(size=(N, CLASSES)), labels


@every_measure
def test_a_measure_says_what_it_is_and_where_it_comes_from(measure: Measure) -> None:
    assert measure.description.strip()
    assert any(character.isdigit() for character in measure.source), "the source names a year"
    assert measure.needs in ("model", "history", "folds")
    assert (measure.from_logits.__doc__ or "").strip()


def test_loss_and_margin_are_there_since_every_ranking_needs_them() -> None:
    assert {"loss", "margin"} <= set(measures)
    assert {measures["loss"].needs, measures["margin"].needs} == {"model"}


@every_measure
def test_every_example_gets_one_finite_float64(measure: Measure) -> None:
    values = measure.from_logits(*made_up(measure))
    assert values.shape == (N,)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()


@every_measure_of_logits
@pytest.mark.parametrize("scale", [1e-6, 1.0, 50.0, 1e4])
def test_logits_of_any_size_give_finite_numbers(measure: Measure, scale: float) -> None:
    logits, labels = made_up(measure)
    assert np.isfinite(measure.from_logits(scale * logits, labels)).all()


@every_measure
def test_an_example_is_measured_by_itself(measure: Measure) -> None:
    inputs, labels = made_up(measure)
    order = np.random.default_rng(1).permutation(N)
    taken = inputs[:, order] if measure.needs == "history" else inputs[order]
    np.testing.assert_allclose(
        measure.from_logits(taken, labels[order]), measure.from_logits(inputs, labels)[order], rtol=0, atol=1e-12
    )
    first = inputs[:, :1] if measure.needs == "history" else inputs[:1]
    alone = measure.from_logits(first, labels[:1])
    np.testing.assert_allclose(alone, measure.from_logits(inputs, labels)[:1], rtol=0, atol=1e-12)


@every_measure
def test_what_is_measured_is_left_as_it_was(measure: Measure) -> None:
    inputs, labels = made_up(measure)
    before = inputs.copy(), labels.copy()
    measure.from_logits(inputs, labels)
    assert np.array_equal(inputs, before[0], equal_nan=True)
    assert np.array_equal(labels, before[1])


@every_measure_of_logits
def test_the_numbering_of_the_classes_does_not_matter(measure: Measure) -> None:
    logits, labels = made_up(measure)
    order = np.random.default_rng(2).permutation(CLASSES)
    renumbered = np.argsort(order)[labels]
    np.testing.assert_allclose(
        measure.from_logits(logits[:, order], renumbered), measure.from_logits(logits, labels), rtol=0, atol=1e-12
    )


@every_measure_of_logits
def test_a_constant_added_to_all_logits_of_an_example_does_not_matter(measure: Measure) -> None:
    logits, labels = made_up(measure)
    moved = logits + 100 * np.random.default_rng(3).normal(size=(N, 1))
    np.testing.assert_allclose(
        measure.from_logits(moved, labels), measure.from_logits(logits, labels), rtol=0, atol=1e-9
    )


def hardness(measure: Measure, inputs: list[list[float]]) -> np.ndarray:
    """Hardness of examples of class 0, given as one row each."""
    table = np.array(inputs, dtype=np.float64)
    labels = np.zeros(len(table), dtype=np.int64)
    return measure.hardness(measure.from_logits(table.T if measure.needs == "history" else table, labels))


@every_measure
def test_an_example_that_is_learnt_for_good_is_easier_than_one_that_the_model_wavers_on(measure: Measure) -> None:
    if measure.needs == "history":
        sure, wavering = [1.0, 1, 1, 1, 1, 1], [1.0, 0, 1, 0, 1, 0]
    else:
        sure, wavering = [9.0, 0, 0], [0.1, 0, 0]
    easy, hard = hardness(measure, [sure, wavering])
    assert easy < hard


@every_measure
def test_hardness_keeps_or_turns_the_whole_order(measure: Measure) -> None:
    values = np.array([-2.0, 0.0, 5.0])
    sign = 1 if measure.higher_is_harder else -1
    assert np.array_equal(measure.hardness(values), sign * values)
