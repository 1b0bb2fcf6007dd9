"""What every score of examples promises: finite numbers that depend on an example and the model, and on no order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import wraps

import numpy as np
from numpy.typing import NDArray

from proxyflow.scores import NEEDS, Floats, ModelOutputs, Score, ScoreInputs
from proxyflow.testing.checks import Check, Contract, assert_same

N, CLASSES, EPOCHS, WIDTH = 60, 5, 9, 6
# What an example gets from these depends on the others too, as they are about where it is among them.
TOGETHER = ("embeddings",)
contract = Contract[Score]()


def score_checks(score: Score) -> tuple[Check, ...]:
    """Checks of a score, with made-up outputs of models."""
    return contract.checks(score)


def made_up(seed: int = 0) -> ScoreInputs:
    """Evidence of everything that a score may need."""
    rng = np.random.default_rng(seed)
    history = rng.integers(0, 2, (EPOCHS, N)).astype(np.float64)
    history[rng.random(history.shape) < 0.1] = np.nan

    def look() -> ModelOutputs:
        embeddings = rng.normal(size=(N, WIDTH)).astype(np.float32)
        lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
        return ModelOutputs(4 * rng.normal(size=(N, CLASSES)), lengths, embeddings)

    held_out = 4 * rng.normal(size=(N, CLASSES))
    return ScoreInputs(rng.integers(0, CLASSES, N), seed, look(), look(), history, held_out)


def with_logits(evidence: ScoreInputs, change: Callable[[Floats], Floats]) -> ScoreInputs:
    """The evidence with every model's logits changed."""
    model, early, held_out = evidence.model, evidence.early, evidence.held_out
    assert model is not None
    assert early is not None
    assert held_out is not None
    return dataclasses.replace(
        evidence,
        model=dataclasses.replace(model, logits=change(model.logits)),
        early=dataclasses.replace(early, logits=change(early.logits)),
        held_out=change(held_out),
    )


def reordered(evidence: ScoreInputs, order: NDArray[np.int64]) -> ScoreInputs:
    """Some of the examples in another order."""

    def moved(look: ModelOutputs | None) -> ModelOutputs | None:
        if look is None or look.embeddings is None:
            return None
        assert look.lengths is not None
        return ModelOutputs(look.logits[order], look.lengths[order], look.embeddings[order])

    assert evidence.history is not None
    assert evidence.held_out is not None
    return ScoreInputs(
        evidence.labels[order],
        evidence.seed,
        moved(evidence.model),
        moved(evidence.early),
        evidence.history[:, order],
        evidence.held_out[order],
    )


def of_those_that_need(*needs: str) -> Callable[[Callable[[Score], None]], Callable[[Score], None]]:
    """Makes a check one of the scores that look at one of these."""

    def limit(function: Callable[[Score], None]) -> Callable[[Score], None]:
        @wraps(function)
        def check(score: Score) -> None:
            if score.needs in needs:
                function(score)

        return check

    return limit


BY_THEMSELVES = tuple(need for need in NEEDS if need not in TOGETHER)
OF_LOGITS = tuple(need for need in BY_THEMSELVES if need != "history")


@contract.promise
def it_says_what_it_is_and_where_it_comes_from(score: Score) -> None:
    assert score.description.strip(), "it has no description"
    assert any(map(str.isdigit, score.source)), f"the source {score.source!r} names no year"
    assert score.needs in NEEDS, f"it needs {score.needs!r}, which is none of {', '.join(NEEDS)}"


@contract.promise
def it_gives_every_example_one_finite_float64(score: Score) -> None:
    values = score.compute(made_up())
    assert values.shape == (N,), f"it gives {values.shape} for {N} examples"
    assert values.dtype == np.float64, f"it gives {values.dtype}"
    assert np.isfinite(values).all(), f"of {N} values {int((~np.isfinite(values)).sum())} are not finite"


@contract.promise
def the_same_evidence_gives_the_same_numbers(score: Score) -> None:
    assert_same(score.compute(made_up()), score.compute(made_up()), "the same evidence, twice")


@contract.promise
def it_tells_examples_apart(score: Score) -> None:
    distinct = len(np.unique(score.compute(made_up())))
    assert distinct > 3, f"{N} different examples have {distinct} different values"


@contract.promise
def one_example_is_enough(score: Score) -> None:
    value = score.compute(reordered(made_up(), np.array([7])))
    assert np.isfinite(value).all(), f"an example that is alone gets {value}"


@contract.promise
def examples_that_are_all_the_same_get_the_same_finite_number(score: Score) -> None:
    alike = dataclasses.replace(made_up(), labels=np.zeros(N, dtype=np.int64))
    values = score.compute(reordered(alike, np.full(20, 3)))
    assert np.isfinite(values).all(), f"20 copies of one example get {values}"
    assert np.ptp(values) < 1e-9, f"20 copies of one example differ by {np.ptp(values)}"


@contract.promise
def it_leaves_what_it_looks_at_as_it_was(score: Score) -> None:
    evidence, before = made_up(), made_up()
    score.compute(evidence)
    for name in ("labels", "history", "held_out"):
        assert_same(getattr(evidence, name), getattr(before, name), f"it changes the evidence's {name}")
    for look, original in ((evidence.model, before.model), (evidence.early, before.early)):
        assert look is not None
        assert original is not None
        assert_same(look.logits, original.logits, "it changes the logits")
        assert look.embeddings is not None
        assert original.embeddings is not None
        assert_same(look.embeddings, original.embeddings, "it changes the embeddings")


@contract.promise
def hardness_keeps_or_turns_the_whole_order(score: Score) -> None:
    values = np.array([-2.0, 0.0, 5.0])
    assert_same(score.hardness(values), values if score.higher_is_harder else -values, "hardness")


@contract.promise
@of_those_that_need(*OF_LOGITS)
def logits_of_any_size_give_finite_numbers(score: Score) -> None:
    for scale in (1e-6, 1.0, 50.0, 1e4):
        values = score.compute(with_logits(made_up(), lambda logits, scale=scale: scale * logits))  # type: ignore[misc]
        assert np.isfinite(values).all(), f"logits of about {4 * scale:g} give values that are not finite"


@contract.promise
@of_those_that_need(*BY_THEMSELVES)
def an_example_is_scored_by_itself(score: Score) -> None:
    whole = score.compute(made_up())
    for positions in (np.random.default_rng(1).permutation(N), np.array([7])):
        told = f"the value of an example depends on others: {len(positions)} of {N}, in another order"
        values = score.compute(reordered(made_up(), positions))
        np.testing.assert_allclose(values, whole[positions], rtol=0, atol=1e-12, err_msg=told)


@contract.promise
@of_those_that_need(*BY_THEMSELVES)
def the_numbering_of_the_classes_does_not_matter(score: Score) -> None:
    order = np.random.default_rng(2).permutation(CLASSES)
    renumbered = with_logits(made_up(), lambda logits: logits[:, order])
    renumbered = dataclasses.replace(renumbered, labels=np.argsort(order)[renumbered.labels])
    values = score.compute(renumbered)
    told = "the numbering of the classes matters"
    np.testing.assert_allclose(values, score.compute(made_up()), rtol=0, atol=1e-12, err_msg=told)


@contract.promise
@of_those_that_need(*OF_LOGITS)
def a_constant_added_to_all_logits_of_an_example_does_not_matter(score: Score) -> None:
    constant = 100 * np.random.default_rng(3).normal(size=(N, 1))
    values = score.compute(with_logits(made_up(), lambda logits: logits + constant))
    told = "a constant added to all logits of an example, which changes no probability, matters"
    np.testing.assert_allclose(values, score.compute(made_up()), rtol=0, atol=1e-9, err_msg=told)


@contract.promise
@of_those_that_need(*BY_THEMSELVES)
def an_example_that_is_learnt_for_good_is_easier_than_one_that_the_model_wavers_on(score: Score) -> None:
    logits = np.array([[9.0, 0, 0], [0.1, 0, 0]])
    history = np.array([[1.0, 1, 1, 1, 1, 1], [0.0, 1, 0, 1, 0, 1]]).T
    look = ModelOutputs(logits, np.ones(2))
    evidence = ScoreInputs(np.zeros(2, dtype=np.int64), 0, look, look, history, held_out=logits)
    easy, hard = score.hardness(score.compute(evidence))
    assert easy < hard, f"by its hardness a sure example ({easy:g}) is not easier than a doubtful one ({hard:g})"


@contract.promise
@of_those_that_need("embeddings")
def an_example_amid_its_class_is_easier_than_one_that_is_far_from_all(score: Score) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    points = np.array([[6.0, 0], [-6.0, 0]])[labels] + rng.normal(size=(80, 2))
    points[0], points[1] = (6, 0), (0, 25)
    look = ModelOutputs(np.zeros((80, 2)), np.zeros(80), points.astype(np.float32))
    easy, hard = score.hardness(score.compute(ScoreInputs(labels, 0, look)))[:2]
    assert easy < hard, f"by its hardness a central example ({easy:g}) is not easier than a remote one ({hard:g})"
