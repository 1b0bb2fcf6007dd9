"""Forgetting events: how often training unlearnt an example."""

from __future__ import annotations

import numpy as np

from proxyflow.scoring.measures.base import Floats, Measure, measures, of_history, with_unseen


def forgetting_events(history: Floats) -> Floats:
    """How often an example went from right to wrong between consecutive presentations in training.

    Args:
        history: `(epochs, n)`, 1 right, 0 wrong, nan where the example was not presented.

    Returns:
        `(n,)` counts. A never-learnt example gets `epochs`, which no count can reach, so that it ranks
        as most forgotten and averages over repeats stay finite. One that was never presented gets the median.
    """
    epochs, n = history.shape
    events = np.zeros(n)
    last = np.zeros(n)
    learnt = np.zeros(n, dtype=bool)
    for presentation in history:
        shown = ~np.isnan(presentation)
        events += shown & (last == 1) & (presentation == 0)
        last = np.where(shown, presentation, last)
        learnt |= shown & (presentation == 1)
    return with_unseen(np.where(learnt, events, float(epochs)), history)


measures.add(
    "forgetting_events",
    Measure(
        "times the example went from right to wrong in training; never learnt counts as the number of epochs",
        "Toneva et al. 2019, arXiv 1812.05159, section 3 (forgetting events)",
        higher_is_harder=True,
        needs="history",
        compute=of_history(forgetting_events),
    ),
)
