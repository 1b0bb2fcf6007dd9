"""Entropy: how undecided the model is, whatever the label says."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from proxyflow.scoring.measures.base import Floats, Labels, Measure, measures, of_model


def entropy(logits: Floats, labels: Labels) -> Floats:
    """Entropy of the predicted distribution in nats; the label plays no part."""
    log_p = np.asarray(log_softmax(logits, axis=1))
    p = np.exp(log_p)
    # p log p tends to 0 with p; a plain product would be 0 * -inf = nan there.
    return np.asarray(-(p * np.where(p > 0, log_p, 0.0)).sum(axis=1))


measures.add(
    "entropy",
    Measure(
        "entropy of the predicted distribution in nats",
        "Settles 2009, Active Learning Literature Survey, section 3.1",
        higher_is_harder=True,
        needs="model",
        compute=of_model(entropy),
    ),
)
