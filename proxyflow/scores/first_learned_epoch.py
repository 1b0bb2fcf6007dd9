"""The first-learned epoch: when training got an example right for the first time."""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Score, known_scores, of_history, with_unseen


def first_learned_epoch(history: Floats) -> Floats:
    """The epoch, from 1, of the first presentation in training that was right.

    Args:
        history: `(epochs, n)`, 1 right, 0 wrong, nan where the example was not presented.

    Returns:
        `(n,)`; a never-learned example gets `epochs + 1`, one that was never presented the median.
    """
    right = history == 1
    epoch = np.where(right.any(axis=0), right.argmax(axis=0) + 1.0, len(history) + 1.0)
    return with_unseen(epoch, history)


known_scores.add(
    "first_learned_epoch",
    Score(
        "epoch of the first presentation in training that was right; never learned counts as one after the last",
        "Toneva et al. 2019, arXiv 1812.05159, section 3 (learning events)",
        higher_is_harder=True,
        needs="history",
        compute=of_history(first_learned_epoch),
    ),
)
