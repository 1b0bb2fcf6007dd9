"""The margin: how far the true class is ahead. It also breaks ties of other scores."""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Labels, Score, known_scores, of_model


def margin(logits: Floats, labels: Labels) -> Floats:
    """The true class's logit minus the largest other logit: negative where the model is wrong."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return np.asarray(logits[rows, labels] - others.max(axis=1))


known_scores.add(
    "margin",
    Score(
        "logit of the true class minus the largest other logit",
        "Pleiss et al. 2020, arXiv 2001.10528, equation 1 (at one point of training)",
        higher_is_harder=False,
        needs="model",
        compute=of_model(margin),
    ),
)
