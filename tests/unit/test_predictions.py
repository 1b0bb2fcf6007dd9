"""Predictions of anybody's model give the scores that ours gives, and what is no prediction is refused by its row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

import proxyflow as pf
from proxyflow.core.errors import InvalidValue
from proxyflow.scores import ModelOutputs, ScoreInputs, known_scores
from proxyflow.scores.predictions import GIVEN, beyond_predictions, check_predictions, score_predictions

RNG = np.random.default_rng(0)
LOGITS = 4 * RNG.normal(size=(60, 5))
LABELS = RNG.integers(0, 5, 60)
PROBABILITIES = softmax(LOGITS, axis=1)


def scored(values: Any, kind: str = "auto", held_out: bool = False, labels: Any = LABELS) -> dict[str, np.ndarray]:
    return score_predictions(check_predictions(values, kind, held_out), labels).columns


@pytest.mark.parametrize("values", [LOGITS, PROBABILITIES], ids=["logits", "probabilities"])
def test_the_loss_is_that_of_sklearn(values: np.ndarray) -> None:
    found = scored(values, held_out=True)
    each = [log_loss([label], [row], labels=range(5)) for label, row in zip(LABELS, PROBABILITIES, strict=True)]
    np.testing.assert_allclose(found["loss"], each, rtol=1e-9)
    assert found["loss"].mean() == pytest.approx(log_loss(LABELS, PROBABILITIES), rel=1e-12)
    np.testing.assert_array_equal(found["heldout_loss"], found["loss"])


def test_scores_of_one_example_by_hand() -> None:
    found = scored([[0.5, 0.3, 0.2]], labels=np.array([1]))
    expected = {
        "loss": -np.log(0.3),
        "margin": np.log(0.3 / 0.5),
        "entropy": -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2)),
        "least_confidence": 0.5,
        "el2n": np.sqrt(0.5**2 + 0.7**2 + 0.2**2),
        "gradient_norm_bound": np.sqrt(0.5**2 + 0.7**2 + 0.2**2),
        "correct": 0.0,
    }
    assert {name: values[0] for name, values in found.items()} == pytest.approx(expected, rel=1e-12)


def test_the_formulas_are_those_of_a_scoring_model() -> None:
    outputs = ModelOutputs(LOGITS)
    inputs = ScoreInputs(LABELS, model=outputs, early=outputs, held_out=LOGITS)
    found = scored(LOGITS, held_out=True)
    for name, score in known_scores.items():
        if score.needs in GIVEN:
            np.testing.assert_array_equal(found[name], score.compute(inputs))


def test_all_scores_are_given_or_named_as_left_out() -> None:
    for held_out in (False, True):
        result = score_predictions(check_predictions(LOGITS, held_out=held_out), LABELS)
        assert {*result.columns} - {"correct"} == {*known_scores} - {*result.left_out}
        assert ("heldout_loss" in result.columns) is held_out
        assert {"forgetting_events", "training_value", "grand_last_layer"} <= {*result.left_out}
    np.testing.assert_allclose(result.confusion[2], PROBABILITIES[LABELS == 2].mean(axis=0), rtol=1e-12)


def test_probability_zero_stays_finite_and_apart_from_all_others() -> None:
    values = np.array([[0.0, 1.0], [1e-300, 1.0], [1.0, 0.0], [1.0, 1e-300], [0.5, 0.5]])
    found = scored(values, labels=np.zeros(5, dtype=np.int64))
    assert all(np.isfinite(column).all() for column in found.values())
    assert np.argsort(found["loss"]).tolist() == [2, 3, 4, 1, 0]
    assert len(set(found["loss"])) == 5


def test_the_kind_is_found_out_unless_it_is_declared() -> None:
    assert check_predictions(LOGITS).kind == "logits"
    assert check_predictions(PROBABILITIES).kind == "probabilities"
    assert check_predictions(PROBABILITIES.astype(np.float16)).kind == "probabilities"
    assert check_predictions(PROBABILITIES, "logits").kind == "logits"
    assert check_predictions(np.log(PROBABILITIES)).kind == "logits"


@pytest.mark.parametrize(
    ("kind", "row", "values", "value"),
    [
        ("probabilities", 3, [0.5, 0.5, 0.5, 0.0, 0.0], "the sum 1.5"),
        ("auto", 3, [0.5, 0.5, 0.5, 0.0, 0.0], "the sum 1.5"),
        ("auto", 7, [1.5, -0.5, 0.0, 0.0, 0.0], "a negative number"),
        ("auto", 7, [np.nan, 0.5, 0.0, 0.0, 0.5], np.nan),
        ("logits", 0, [np.inf, 0.5, 0.0, 0.0, 0.5], np.inf),
    ],
)
def test_a_row_that_is_no_prediction_is_refused_by_its_name(
    kind: str, row: int, values: list[float], value: Any
) -> None:
    given = PROBABILITIES.copy()
    given[row] = values
    with pytest.raises(InvalidValue) as caught:
        check_predictions(given, kind, name_of="id {}".format)
    assert caught.value.name == f"predictions of id {row}"
    assert caught.value.value == value or np.isnan(value)


@pytest.mark.parametrize("values", [[0.1, 0.9], [[1.0]], np.empty((0, 3)), [["a", "b"]], [[1.0, 2.0], [1.0]]])
def test_other_shapes_and_text_are_refused(values: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        check_predictions(values)
    assert caught.value.name == "predictions"


def test_needs_that_no_predictions_meet() -> None:
    assert beyond_predictions(["loss", "margin", "heldout_loss", "el2n", "confusion"]) == []
    beyond = ["el2n_epoch_5", "embeddings", "forgetting_events", "grand_last_layer"]
    assert beyond_predictions(["loss", *beyond]) == beyond


def test_a_frame_of_scores_chooses() -> None:
    frame = pf.score(PROBABILITIES, LABELS)
    assert "heldout_loss" not in frame
    chosen = pf.choose("easiest:0.25", LABELS, scores=frame)
    assert np.array_equal(chosen, np.sort(np.argsort(frame["loss"].to_numpy())[:15]))
    held_out = pf.score(PROBABILITIES, LABELS, held_out=True)
    assert np.array_equal(pf.choose("easiest:0.25,by=heldout_loss", LABELS, scores=held_out), chosen)


def test_columns_are_classes_by_name_by_number_or_sorted() -> None:
    expected = pf.score(PROBABILITIES, LABELS)
    names = np.array(["e", "d", "c", "b", "a"])
    named = pd.DataFrame(PROBABILITIES, columns=names)
    text = names[LABELS]
    for predictions, labels in (
        (named, text),
        (named[["b", "a", "e", "c", "d"]], text),
        (PROBABILITIES[:, ::-1], text),  # sorted: a, b, …
        (PROBABILITIES, LABELS.tolist()),
        (pd.DataFrame(PROBABILITIES), LABELS),
        (PROBABILITIES, 10 * LABELS),
    ):
        pd.testing.assert_frame_equal(pf.score(predictions, labels), expected)
    # Some classes have no example: numbers are columns, and names are found.
    few = LABELS != 1
    pd.testing.assert_frame_equal(pf.score(PROBABILITIES[few], LABELS[few]), expected[few].reset_index(drop=True))
    pd.testing.assert_frame_equal(pf.score(named[few], text[few]), expected[few].reset_index(drop=True))
    with pytest.raises(InvalidValue) as caught:
        pf.score(PROBABILITIES[few], text[few])
    assert caught.value.name == "predictions"


@pytest.mark.parametrize(
    ("predictions", "labels", "options", "name"),
    [
        (PROBABILITIES, LABELS[:9], {}, "labels"),
        (PROBABILITIES, [*LABELS[:-1], 5], {}, "predictions"),
        (PROBABILITIES, LABELS, {"kind": "odds"}, "kind"),
        (np.where(LOGITS > 8, np.nan, LOGITS), LABELS, {}, "predictions"),
        (PROBABILITIES[0], LABELS, {}, "predictions"),
        (2 * PROBABILITIES, LABELS, {"kind": "probabilities"}, "predictions of row 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(predictions: Any, labels: Any, options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        pf.score(predictions, labels, **options)
    assert caught.value.name == name
