"""k-center: examples chosen so that every other one is near a chosen one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proxyflow.strategies.base import Positions, register_strategy
from proxyflow.strategies.geometry import Chunked, Points


@register_strategy
@dataclass(frozen=True)
class KCenter(Chunked):
    """Begins nearest to the mean, and adds the example that is furthest from all chosen ones.

    Its largest distance of any example to a chosen one is at most twice the smallest possible (Gonzalez 1985). Helps
    where rare kinds of examples must not be missed; it prefers outliers, including wrong labels. Costs one training
    on all examples for the embeddings, unless these are a file's, and one pass over them per chosen example. The bound
    holds within each chunk where there are more than 20,000 examples (`geometry.Chunked`).
    """

    name = "k-center"
    summary = "the fraction F of the examples that covers all others best (greedy k-center on embeddings)"
    family = "Coverage"
    nested = True
    source = "Sener & Savarese 2018, arXiv 1708.00489, algorithm 1"

    def _pick(self, points: Points, budget: int, rng: np.random.Generator) -> Positions:
        squares = np.einsum("nd,nd->n", points, points)
        chosen = np.empty(budget, dtype=np.int64)
        nearest = np.full(len(points), np.inf, dtype=np.float32)
        following = int(np.argmin(squares))
        for number in range(budget):
            chosen[number] = following
            distances = np.maximum(squares + squares[following] - 2 * (points @ points[following]), 0)
            nearest = np.minimum(nearest, distances)
            # Even where others are at the same point, a chosen one is not chosen again.
            nearest[following] = -1
            following = int(np.argmax(nearest))
        return chosen
