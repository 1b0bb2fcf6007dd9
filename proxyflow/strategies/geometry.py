"""What all strategies on embeddings share: a budget, for all examples at once or for each class."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.settings import setting
from proxyflow.strategies.base import BALANCE, FRACTION, ExamplePool, Positions, Strategy
from proxyflow.strategies.budget import apportion, count
from proxyflow.strategies.full import Full

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Geometric(Strategy):
    """A fraction of the examples, selected by their embeddings."""

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
    balance: str = setting("none", BALANCE, "class: every class in proportion, each by itself; none: all at once")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"embeddings"})

    @property
    def balanced(self) -> bool:
        return self.balance == "class"

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        total = self.size(pool)
        groups = [np.arange(len(pool))]
        if self.balanced:
            groups = [np.flatnonzero(pool.labels == label) for label in np.unique(pool.labels)]
        budgets = apportion(total, [len(group) for group in groups])
        assert pool.embeddings is not None
        chosen = []
        for group, budget in zip(groups, budgets, strict=True):
            # This shuffle breaks ties between equal points, not the order of the source.
            group = rng.permutation(group)
            points = pool.embeddings[group]
            if budget:
                chosen.append(group[self._pick(points - points.mean(axis=0), budget, rng)])
        return np.concatenate(chosen)

    @abstractmethod
    def _pick(self, points: Points, budget: int, rng: np.random.Generator) -> Positions:
        """Positions of `budget` of the points `(n, d)`, whose mean is 0."""
