"""Least confidence: 1 minus the probability of the predicted class, regardless of the label."""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Labels, Score, known_scores, of_model, probabilities


def least_confidence(logits: Floats, labels: Labels) -> Floats:
    """1 minus the largest predicted probability; the label is not used."""
    p = probabilities(logits)
    # The sum of the others keeps its precision where 1 - p loses it.
    p[np.arange(len(p)), logits.argmax(axis=1)] = 0.0
    return np.asarray(p.sum(axis=1))


known_scores.add(
    "least_confidence",
    Score(
        "1 minus the largest predicted probability, 0 to 1 - 1 / classes",
        "Settles 2009, Active Learning Literature Survey, section 3.1",
        higher_is_harder=True,
        needs="model",
        compute=of_model(least_confidence),
    ),
)
