"""A score: how far the model is from its second choice."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from proxyflow.scores import Floats, Score, ScoreInputs


def _gap(evidence: ScoreInputs) -> Floats:
    """Probability of the label minus that of the likeliest other class, `(n,)`."""
    assert evidence.model is not None
    given = softmax(evidence.model.logits, axis=1)
    rows = np.arange(len(given))
    label = given[rows, evidence.labels].copy()
    given[rows, evidence.labels] = -np.inf
    return np.asarray(label - given.max(axis=1))


gap = Score(
    "probability of the label minus that of the likeliest other class",
    "after Scheffer et al. 2001 (margin sampling)",
    higher_is_harder=False,
    needs="model",
    compute=_gap,
)
