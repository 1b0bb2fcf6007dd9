"""Entropy: how undecided the model is, regardless of the label."""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Labels, Score, known_scores, log_probabilities, of_model


def entropy(logits: Floats, labels: Labels) -> Floats:
    """Entropy of the predicted distribution in nats; the label is not used."""
    log_p = log_probabilities(logits)
    p = np.exp(log_p)
    # p log p tends to 0 with p; a plain product would be 0 * -inf = nan there.
    return np.asarray(-(p * np.where(p > 0, log_p, 0.0)).sum(axis=1))


known_scores.add(
    "entropy",
    Score(
        "entropy of the predicted distribution in nats",
        "Settles 2009, Active Learning Literature Survey, section 3.1",
        higher_is_harder=True,
        needs="model",
        compute=of_model(entropy),
    ),
)
