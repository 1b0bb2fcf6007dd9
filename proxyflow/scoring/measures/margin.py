"""The margin: how far the right class is ahead. It also tells apart what ties by another score."""

from __future__ import annotations

import numpy as np

from proxyflow.scoring.measures.base import Floats, Labels, Measure, measures, of_model


def margin(logits: Floats, labels: Labels) -> Floats:
    """The true class's logit minus the largest other logit: negative where the model is wrong."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return np.asarray(logits[rows, labels] - others.max(axis=1))


measures.add(
    "margin",
    Measure(
        "logit of the true class minus the largest other logit",
        "Pleiss et al. 2020, arXiv 2001.10528, equation 1 (at one point of training)",
        higher_is_harder=False,
        needs="model",
        compute=of_model(margin),
    ),
)
