"""Herding: examples whose mean stays as near as possible to the mean of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proxyflow.strategies.base import Positions, register_strategy
from proxyflow.strategies.geometry import Chunked, Points


@register_strategy
@dataclass(frozen=True)
class Herding(Chunked):
    """Adds the example with which the mean of the chosen ones comes nearest to the mean of all.

    Helps where a small subset has to match the whole on average; with `balance=class` it does so class by class,
    as iCaRL has it. Costs one training on all examples for the embeddings, unless these are a file's, and one pass over
    them per chosen example. Of more than 20,000 examples each random chunk has its own mean (`geometry.Chunked`).
    """

    name = "herding"
    summary = "the fraction F of the examples whose mean embedding stays nearest to that of all"
    family = "Coverage"
    nested = True
    source = "Welling 2009, Herding dynamical weights to learn; Rebuffi et al. 2017, arXiv 1611.07725, algorithm 4"

    def _pick(self, points: Points, budget: int, rng: np.random.Generator) -> Positions:
        squares = np.einsum("nd,nd->n", points, points)
        chosen = np.empty(budget, dtype=np.int64)
        total = np.zeros(points.shape[1], dtype=np.float32)
        left = np.zeros(len(points), dtype=np.float32)
        for number in range(budget):
            # The mean of all is 0, so the candidate whose sum with the chosen ones is shortest comes next.
            following = int(np.argmin(squares + 2 * (points @ total) + left))
            chosen[number] = following
            total += points[following]
            left[following] = np.inf
        return chosen
