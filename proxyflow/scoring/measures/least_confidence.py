"""Least confidence: how little the model trusts its own first choice, whatever the label says."""

from __future__ import annotations

import numpy as np

from proxyflow.scoring.measures.base import Floats, Labels, Measure, measures, of_model, probabilities


def least_confidence(logits: Floats, labels: Labels) -> Floats:
    """1 minus the largest predicted probability; the label plays no part."""
    p = probabilities(logits)
    # The sum of the others has digits left where 1 - p has none.
    p[np.arange(len(p)), logits.argmax(axis=1)] = 0.0
    return np.asarray(p.sum(axis=1))


measures.add(
    "least_confidence",
    Measure(
        "1 minus the largest predicted probability, 0 to 1 - 1 / classes",
        "Settles 2009, Active Learning Literature Survey, section 3.1",
        higher_is_harder=True,
        needs="model",
        compute=of_model(least_confidence),
    ),
)
