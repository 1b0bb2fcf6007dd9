"""Forgetting events: how often an example went from right to wrong in training."""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Score, known_scores, of_history, with_unseen


def forgetting_events(history: Floats) -> Floats:
    """How often an example went from right to wrong between consecutive presentations in training.

    Args:
        history: `(epochs, n)`, 1 right, 0 wrong, nan where the example was not presented.

    Returns:
        `(n,)` counts. A never-learned example gets `epochs`, which no count can reach, so that it ranks
        as most forgotten and averages over repeats stay finite. One that was never presented gets the median.
    """
    epochs, n = history.shape
    events = np.zeros(n)
    last = np.zeros(n)
    learned = np.zeros(n, dtype=bool)
    for presentation in history:
        presented = ~np.isnan(presentation)
        events += presented & (last == 1) & (presentation == 0)
        last = np.where(presented, presentation, last)
        learned |= presented & (presentation == 1)
    return with_unseen(np.where(learned, events, float(epochs)), history)


known_scores.add(
    "forgetting_events",
    Score(
        "times the example went from right to wrong in training; never learned counts as the number of epochs",
        "Toneva et al. 2019, arXiv 1812.05159, section 3 (forgetting events)",
        higher_is_harder=True,
        needs="history",
        compute=of_history(forgetting_events),
    ),
)
