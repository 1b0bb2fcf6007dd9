"""EL2N: the norm of the error vector early in training, when it still separates examples that are learned later."""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Labels, Score, ScoreInputs, errors, known_scores


def el2n(logits: Floats, labels: Labels) -> Floats:
    """Norm of the error vector, the 2-norm of softmax(logits) - onehot(label)."""
    return np.asarray(np.linalg.norm(errors(logits, labels), axis=1))


def _early(inputs: ScoreInputs) -> Floats:
    assert inputs.early is not None
    return el2n(inputs.early.logits, inputs.labels)


known_scores.add(
    "el2n",
    Score(
        "2-norm of predicted probabilities minus the one-hot label after an early epoch, 0 to sqrt(2)",
        "Paul et al. 2021, arXiv 2107.07075, definition 2.2",
        higher_is_harder=True,
        needs="early",
        compute=_early,
    ),
)
