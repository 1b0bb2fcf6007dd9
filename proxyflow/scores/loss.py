"""Cross-entropy: the score of the published easy and hard proxies."""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Labels, Score, known_scores, of_model


def loss(logits: Floats, labels: Labels) -> Floats:
    """Cross-entropy in nats against the hard label, whatever smoothing training used.

    A label-smoothed loss would rise again for examples of which the model is very sure, and right.
    """
    rows = np.arange(len(labels))
    gaps = logits - logits[rows, labels][:, None]
    gaps[rows, labels] = -np.inf
    # log(1 + sum e^gap): log1p keeps what is below the last bit of 1, else well-learned examples would tie at 0.
    highest = np.maximum(gaps.max(axis=1), 0.0)
    rest = np.exp(gaps - highest[:, None]).sum(axis=1)
    with np.errstate(divide="ignore"):
        far = highest + np.log(np.exp(-highest) + rest)
    return np.asarray(np.where(highest > 0, far, np.log1p(rest)))


known_scores.add(
    "loss",
    Score(
        "cross-entropy in nats against the hard label",
        "Shleifer & Prokop 2019, section 3.2 (easiest and hardest examples)",
        higher_is_harder=True,
        needs="model",
        compute=of_model(loss),
    ),
)
