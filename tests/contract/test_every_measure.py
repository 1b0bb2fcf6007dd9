"""What holds for every difficulty measure, so that a new one ranks in the stated direction whatever its formula."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from proxyflow.scoring.measures import NEEDS, Evidence, Look, Measure, measures

N, CLASSES, EPOCHS, WIDTH = 60, 5, 9, 6
every_measure = pytest.mark.parametrize("measure", measures.values(), ids=list(measures))
# What an example gets from these depends on the others too, as they are about where it is among them.
TOGETHER = ("embeddings",)
BY_ITSELF = {name: measure for name, measure in measures.items() if measure.needs not in TOGETHER}
every_measure_by_itself = pytest.mark.parametrize("measure", BY_ITSELF.values(), ids=list(BY_ITSELF))
OF_LOGITS = {name: measure for name, measure in BY_ITSELF.items() if measure.needs != "history"}
every_measure_of_logits = pytest.mark.parametrize("measure", OF_LOGITS.values(), ids=list(OF_LOGITS))


def made_up(seed: int = 0) -> Evidence:
    """Evidence of everything that a measure may need."""
    rng = np.random.default_rng(seed)
    history = rng.integers(0, 2, (EPOCHS, N)).astype(np.float64)
    history[rng.random(history.shape) < 0.1] = np.nan

    def look() -> Look:
        embeddings = rng.normal(size=(N, WIDTH)).astype(np.float32)
        lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
        return Look(4 * rng.normal(size=(N, CLASSES)), lengths, embeddings)

    held_out = 4 * rng.normal(size=(N, CLASSES))
    return Evidence(rng.integers(0, CLASSES, N), seed, look(), look(), history, held_out)


def of_looks(evidence: Evidence, change: object) -> Evidence:
    """The evidence with every model's logits changed."""
    assert callable(change)
    assert evidence.model is not None
    assert evidence.early is not None
    return dataclasses.replace(
        evidence,
        model=dataclasses.replace(evidence.model, logits=change(evidence.model.logits)),
        early=dataclasses.replace(evidence.early, logits=change(evidence.early.logits)),
        held_out=change(evidence.held_out),
    )


def reordered(evidence: Evidence, order: np.ndarray) -> Evidence:
    """Some of the examples in another order."""

    def moved(look: Look | None) -> Look:
        assert look is not None
        assert look.embeddings is not None
        return Look(look.logits[order], look.lengths[order], look.embeddings[order])

    assert evidence.history is not None
    assert evidence.held_out is not None
    return Evidence(
        evidence.labels[order],
        evidence.seed,
        moved(evidence.model),
        moved(evidence.early),
        evidence.history[:, order],
        evidence.held_out[order],
    )


@every_measure
def test_a_measure_says_what_it_is_and_where_it_comes_from(measure: Measure) -> None:
    assert measure.description.strip()
    assert any(character.isdigit() for character in measure.source), "the source names a year"
    assert measure.needs in NEEDS


def test_loss_and_margin_are_there_since_every_ranking_needs_them() -> None:
    assert {"loss", "margin"} <= set(measures)
    assert {measures["loss"].needs, measures["margin"].needs} == {"model"}


@every_measure
def test_evidence_says_whether_it_has_what_a_measure_needs(measure: Measure) -> None:
    assert made_up().has(measure.needs)
    assert not Evidence(made_up().labels).has(measure.needs)


@every_measure
def test_every_example_gets_one_finite_float64(measure: Measure) -> None:
    values = measure.compute(made_up())
    assert values.shape == (N,)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()


@every_measure
def test_the_same_evidence_gives_the_same_numbers(measure: Measure) -> None:
    assert np.array_equal(measure.compute(made_up()), measure.compute(made_up()))


@every_measure
def test_the_examples_are_told_apart(measure: Measure) -> None:
    assert len(np.unique(measure.compute(made_up()))) > 3


@every_measure_of_logits
@pytest.mark.parametrize("scale", [1e-6, 1.0, 50.0, 1e4])
def test_logits_of_any_size_give_finite_numbers(measure: Measure, scale: float) -> None:
    assert np.isfinite(measure.compute(of_looks(made_up(), lambda logits: scale * logits))).all()


@every_measure_by_itself
def test_an_example_is_measured_by_itself(measure: Measure) -> None:
    whole = measure.compute(made_up())
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_allclose(measure.compute(reordered(made_up(), order)), whole[order], rtol=0, atol=1e-12)
    alone = measure.compute(reordered(made_up(), np.array([7])))
    np.testing.assert_allclose(alone, whole[[7]], rtol=0, atol=1e-12)


@every_measure
def test_one_example_is_enough(measure: Measure) -> None:
    assert np.isfinite(measure.compute(reordered(made_up(), np.array([7])))).all()


@every_measure
def test_examples_that_are_all_the_same_get_the_same_finite_number(measure: Measure) -> None:
    values = measure.compute(
        reordered(dataclasses.replace(made_up(), labels=np.zeros(N, dtype=np.int64)), np.full(20, 3))
    )
    assert np.isfinite(values).all()
    assert np.ptp(values) < 1e-9


@every_measure
def test_what_is_measured_is_left_as_it_was(measure: Measure) -> None:
    evidence, before = made_up(), made_up()
    measure.compute(evidence)
    for name in ("labels", "history", "held_out"):
        assert np.array_equal(getattr(evidence, name), getattr(before, name), equal_nan=name != "labels")
    for look, original in ((evidence.model, before.model), (evidence.early, before.early)):
        assert look is not None
        assert original is not None
        assert np.array_equal(look.logits, original.logits)
        assert look.embeddings is not None
        assert np.array_equal(look.embeddings, original.embeddings)


@every_measure_by_itself
def test_the_numbering_of_the_classes_does_not_matter(measure: Measure) -> None:
    order = np.random.default_rng(2).permutation(CLASSES)
    renumbered = of_looks(made_up(), lambda logits: logits[:, order])
    renumbered = dataclasses.replace(renumbered, labels=np.argsort(order)[renumbered.labels])
    np.testing.assert_allclose(measure.compute(renumbered), measure.compute(made_up()), rtol=0, atol=1e-12)


@every_measure_of_logits
def test_a_constant_added_to_all_logits_of_an_example_does_not_matter(measure: Measure) -> None:
    constant = 100 * np.random.default_rng(3).normal(size=(N, 1))
    moved = of_looks(made_up(), lambda logits: logits + constant)
    np.testing.assert_allclose(measure.compute(moved), measure.compute(made_up()), rtol=0, atol=1e-9)


@every_measure_by_itself
def test_an_example_that_is_learnt_for_good_is_easier_than_one_that_the_model_wavers_on(measure: Measure) -> None:
    logits = np.array([[9.0, 0, 0], [0.1, 0, 0]])
    history = np.array([[1.0, 1, 1, 1, 1, 1], [0.0, 1, 0, 1, 0, 1]]).T
    look = Look(logits, np.ones(2))
    easy, hard = measure.hardness(
        measure.compute(Evidence(np.zeros(2, dtype=np.int64), 0, look, look, history, held_out=logits))
    )
    assert easy < hard


@pytest.mark.parametrize("name", [name for name, measure in measures.items() if measure.needs == "embeddings"])
def test_an_example_amid_its_class_is_easier_than_one_that_is_far_from_all(name: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    points = np.array([[6.0, 0], [-6.0, 0]])[labels] + rng.normal(size=(80, 2))
    points[0], points[1] = (6, 0), (0, 25)
    look = Look(np.zeros((80, 2)), np.zeros(80), points.astype(np.float32))
    hardness = measures[name].hardness(measures[name].compute(Evidence(labels, 0, look)))
    assert hardness[0] < hardness[1]


@every_measure
def test_hardness_keeps_or_turns_the_whole_order(measure: Measure) -> None:
    values = np.array([-2.0, 0.0, 5.0])
    sign = 1 if measure.higher_is_harder else -1
    assert np.array_equal(measure.hardness(values), sign * values)
