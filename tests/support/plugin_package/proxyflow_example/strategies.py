"""A strategy: neither the easiest examples nor the hardest ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.core.settings import setting
from proxyflow.strategies import ExamplePool
from proxyflow.strategies.base import BALANCE, FRACTION, Positions
from proxyflow.strategies.budget import count
from proxyflow.strategies.ranking import BY, Ranked, hardest_first, slice_of


@dataclass(frozen=True)
class Middle(Ranked):
    """The examples in the middle of a score's ranking.

    Helps where both ends mislead: the easiest examples teach little, and the hardest ones may be mislabelled.
    """

    name = "middle"
    summary = "the fraction F of the examples in the middle of the ranking"
    family = "Middle Examples"
    source = "an example, 2026"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
    by: str = setting("loss", BY, "the score to rank by")
    balance: str = setting("none", BALANCE, "class: every class in proportion; none: as the score has it")

    @property
    def depends_on_seed(self) -> bool:
        return self.fraction < 1  # the seed tells apart what has the same score

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        order, n = hardest_first(pool, self.by, rng), self.size(pool)
        start = (len(pool) - n) // 2
        return slice_of(order, pool.labels, start, start + n, self.balance)
