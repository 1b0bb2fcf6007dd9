"""What a score of difficulty is, and what it is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.registry import Registry

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

# What a score is computed from, in words for messages.
Need = Literal["model", "early", "early_embeddings", "embeddings", "history", "folds"]
NEEDS: dict[Need, str] = {
    "model": "a trained model's logits",
    "early": "logits of a model early in its training",
    "early_embeddings": "logits and lengths of embeddings of a model early in its training",
    "embeddings": "a trained model's embeddings",
    "history": "which presentations in training were right",
    "folds": "logits of models that never saw the example (holdout_folds=5)",
}
# Computed from early models, of which there may be several.
EARLY: tuple[Need, ...] = ("early", "early_embeddings")


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """One model's outputs for every example, in eval mode and without augmentation.

    Attributes:
        logits: `(n, classes) float64`.
        lengths: `(n,) float64`, 2-norms of the embeddings, which are what the classifier's last layer takes in; None
            where only the predictions of a model are known.
        embeddings: `(n, d) float32`, or None where they were not kept.
    """

    logits: Floats
    lengths: Floats | None = None
    embeddings: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class ScoreInputs:
    """All that scores may be computed from; examples are in the order of their content, not of their source.

    Attributes:
        labels: `(n,) int64`, 0 to classes - 1.
        seed: the run's seed, for scores that draw random numbers.
        model: the trained model.
        early: a model early in its training.
        history: `(epochs, n)`, 1 right, 0 wrong, nan where the example was not presented in that epoch.
        held_out: `(n, classes) float64`, logits of models that did not train on the example.
    """

    labels: Labels
    seed: int = 0
    model: ModelOutputs | None = None
    early: ModelOutputs | None = None
    history: Floats | None = None
    held_out: Floats | None = None

    def has(self, need: Need) -> bool:
        """Whether it holds what a score needs."""
        held = {
            "model": self.model,
            "early": self.early,
            "early_embeddings": self.early.lengths if self.early else None,
            "embeddings": self.model.embeddings if self.model else None,
            "history": self.history,
            "folds": self.held_out,
        }
        return held[need] is not None


@dataclass(frozen=True)
class Score:
    """One column of a score table.

    Attributes:
        description: what the number means, with its unit.
        source: where the definition comes from.
        higher_is_harder: the direction in which difficulty grows.
        needs: what it is computed from.
        compute: maps inputs that hold it to `(n,) float64`.
    """

    description: str
    source: str
    higher_is_harder: bool
    needs: Need
    compute: Callable[[ScoreInputs], Floats]

    def hardness(self, values: Floats) -> Floats:
        """The values with their sign set so that higher is harder."""
        return values if self.higher_is_harder else -values


known_scores: Registry[Score] = Registry(
    "score",
    "proxyflow.scores",
    lambda name, item: "" if isinstance(item, Score) else "it is not a proxyflow.scores.Score",
)


def of_model(formula: Callable[[Floats, Labels], Floats]) -> Callable[[ScoreInputs], Floats]:
    """A formula of logits and labels, applied to the trained model."""

    def compute(inputs: ScoreInputs) -> Floats:
        assert inputs.model is not None
        return formula(inputs.model.logits, inputs.labels)

    return compute


def of_history(formula: Callable[[Floats], Floats]) -> Callable[[ScoreInputs], Floats]:
    """A formula of the training's history."""

    def compute(inputs: ScoreInputs) -> Floats:
        assert inputs.history is not None
        return formula(inputs.history)

    return compute


def with_unseen(values: Floats, history: Floats) -> Floats:
    """Gives examples that no epoch presented (incomplete last batches are dropped) the median of the others.

    They are neither learned nor never learned, so they must not end up at either end of a ranking.
    """
    seen = ~np.isnan(history).all(axis=0)
    if seen.any():
        values[~seen] = np.median(values[seen])
    return values


def log_probabilities(logits: Floats) -> Floats:
    """`(n, classes)` logarithms of the probabilities that a model gives each class."""
    from scipy.special import log_softmax  # takes half a second to import, which no help text waits for

    return np.asarray(log_softmax(logits, axis=1))


def probabilities(logits: Floats) -> Floats:
    """Softmax in float64, `(n, classes)`."""
    return np.asarray(np.exp(log_probabilities(logits)))


def errors(logits: Floats, labels: Labels) -> Floats:
    """Predicted probabilities minus the one-hot label, `(n, classes)`."""
    rows = np.arange(len(labels))
    difference = probabilities(logits)
    # p - 1 is minus the sum of the other probabilities; the sum keeps its precision where p is almost 1.
    difference[rows, labels] = 0.0
    difference[rows, labels] = -difference.sum(axis=1)
    return difference
