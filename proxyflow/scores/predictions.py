"""Scores from predictions of anybody's model: logits or probabilities are all that most scores need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from proxyflow.core.errors import InvalidValue
from proxyflow.scores.apply import apply_scores, confusion_of
from proxyflow.scores.base import NEEDS, Floats, Labels, ModelOutputs, Need, ScoreInputs, known_scores
from proxyflow.scores.names import AT_EPOCH, score_of

PredictionKind = Literal["logits", "probabilities"]
KINDS: tuple[PredictionKind, ...] = ("logits", "probabilities")
AUTO = "auto"
# What predictions hold; `folds` only where they are held out.
GIVEN: tuple[Need, ...] = ("model", "early", "folds")

SUM_TOLERANCE = 1e-3  # of the probabilities of an example from 1; half precision needs most of it
# Takes the place of probability 0. It is the least number of full precision, so that no two others become equal.
LEAST_PROBABILITY = float(np.finfo(np.float64).tiny)
LARGEST_LOGIT = 1e300  # differences of two stay finite


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts for some examples.

    Attributes:
        values: `(n, classes) float64`.
        kind: what the values are; probabilities are not negative and sum to 1 in each row.
        held_out: whether each example was predicted by a model that did not train on it.
    """

    values: Floats
    kind: PredictionKind
    held_out: bool = False

    @property
    def logits(self) -> Floats:
        """The values as logits, up to a constant per example, which no score depends on."""
        return np.log(np.maximum(self.values, LEAST_PROBABILITY)) if self.kind == "probabilities" else self.values


@dataclass(frozen=True, eq=False)
class ScoredPredictions:
    """Scores of predictions.

    Attributes:
        columns: score name to `(n,) float64`, and `correct`, 1 where the predicted class is the label, else 0.
        confusion: `(classes, classes)`, row c the mean predicted probabilities of examples of class c.
        left_out: score name to what it needs beyond these predictions.
    """

    columns: dict[str, Floats]
    confusion: Floats
    left_out: dict[str, str]


def check_predictions(
    values: Any, kind: str = AUTO, held_out: bool = False, name_of: Callable[[int], str] = "row {}".format
) -> Predictions:
    """Checks predictions, and finds out what they are.

    Args:
        values: `(n, classes)`, numbers.
        kind: `logits`, `probabilities`, or `auto`: probabilities if all rows are non-negative and sum to 1 within
            0.001, else logits.
        held_out: whether each example was predicted by a model that did not train on it.
        name_of: names a row in messages.

    Raises:
        InvalidValue: the shape is wrong, a number is not finite, or rows are no probabilities although they must be.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidValue("predictions", type(values).__name__, "they must be numbers") from None
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < 2:
        raise InvalidValue("predictions", f"of shape {array.shape}", "give one row per example, one column per class")
    finite = np.abs(array) <= LARGEST_LOGIT  # false for nan
    if not finite.all():
        bad = np.flatnonzero(~finite.all(axis=1))
        first = int(bad[0])
        value = array[first][~finite[first]][0]
        rule = f"predictions must be finite numbers ({len(bad):,} of {len(array):,} rows are not); predict these again"
        raise InvalidValue(f"predictions of {name_of(first)}", value, rule)
    return Predictions(array, _kind_of(array, kind, name_of), held_out)


def _kind_of(values: Floats, kind: str, name_of: Callable[[int], str]) -> PredictionKind:
    if kind == "logits":
        return "logits"
    sums = values.sum(axis=1)
    normalised = (values >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)
    if normalised.all():
        return "probabilities"
    others = np.flatnonzero(~normalised)
    first = int(others[0])
    name = f"predictions of {name_of(first)}"
    has = "a negative number" if (values[first] < 0).any() else f"the sum {sums[first]:.6g}"
    if kind == "probabilities":
        rule = (
            f"probabilities are not negative and sum to 1 within {SUM_TOLERANCE:g}, and {len(others):,} of "
            f"{len(values):,} rows do not; correct them, or say prediction_kind=logits"
        )
        raise InvalidValue(name, has, rule)
    # Logits would sum to 1 by chance in a few rows at most.
    if len(others) < len(values) / 2:
        rule = (
            f"{len(values) - len(others):,} of {len(values):,} rows are probabilities, and this is not; correct it, or "
            "say prediction_kind=logits"
        )
        raise InvalidValue(name, has, rule)
    return "logits"


def score_predictions(predictions: Predictions, labels: Labels) -> ScoredPredictions:
    """Computes all registered scores that need no more than predictions.

    Scores of early models are computed from the same predictions: `el2n` is the published one where they come from an
    early epoch. `heldout_loss` exists only where predictions are held out.

    Args:
        labels: `(n,) int64`, columns of `predictions`; examples in an order that depends on their content alone.

    Raises:
        InvalidValue: there is another number of labels, or a label without a column.

    Example:
        >>> given = check_predictions([[0.9, 0.1], [0.6, 0.4]])
        >>> scored = score_predictions(given, np.array([0, 1]))
        >>> scored.columns["loss"].round(3), "heldout_loss" in scored.columns
        (array([0.105, 0.916]), False)
    """
    shape = predictions.values.shape
    if labels.shape != shape[:1] or not 0 <= labels.min() <= labels.max() < shape[1]:
        raise InvalidValue("labels", f"of shape {labels.shape}", f"each of the {shape[0]} rows needs one, a column")
    logits = predictions.logits
    outputs = ModelOutputs(logits)
    inputs = ScoreInputs(labels, model=outputs, early=outputs, held_out=logits if predictions.held_out else None)
    needs = NEEDS | {"folds": "predictions by models that never saw the example (held_out=true)"}
    left_out = {name: needs[score.needs] for name, score in known_scores.items() if not inputs.has(score.needs)}
    return ScoredPredictions(apply_scores(inputs, {}), confusion_of(logits, labels), left_out)


def beyond_predictions(needs: Iterable[str]) -> list[str]:
    """Those needs of strategies that no predictions meet: scores of more than these, of an epoch, and embeddings."""

    def met(need: str) -> bool:
        score = score_of(need)
        return need == "confusion" or (score is not None and score.needs in GIVEN and not AT_EPOCH.fullmatch(need))

    return sorted(need for need in needs if not met(need))
