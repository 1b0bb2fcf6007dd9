"""The target itself: every training example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proxyflow.strategies.base import ExamplePool, Positions, Strategy, register_strategy


@register_strategy
@dataclass(frozen=True)
class Full(Strategy):
    """All examples of all classes: what every proxy is compared with."""

    name = "full"
    summary = "every training example: the target that proxies are compared with"
    family = "Baseline"
    source = "Shleifer & Prokop 2019, section 3.2 (All Classes-1.0)"
    reduces = frozenset()

    @property
    def depends_on_seed(self) -> bool:
        return False

    def size(self, pool: ExamplePool) -> int:
        return len(pool)

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        return np.arange(len(pool))
