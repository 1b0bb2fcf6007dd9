"""Random examples of every class: the baseline that needs nothing but labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.core.settings import setting
from proxyflow.strategies.base import FRACTION, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import apportion, count, members_by_class
from proxyflow.strategies.full import Full


def sample(labels: np.ndarray, total: int, rng: np.random.Generator) -> Positions:
    """Positions of `total` random examples, with every class in proportion; a larger total gives a superset.

    The generator shuffles all members class by class in label order, so that the total does not affect what it draws.
    """
    groups = members_by_class(labels)
    shares = apportion(total, [len(group) for group in groups])
    chosen = [rng.permutation(group)[:share] for group, share in zip(groups, shares, strict=True)]
    return np.concatenate([*chosen, np.array([], dtype=np.int64)])


@register_strategy
@dataclass(frozen=True)
class Random(Strategy):
    """A random fraction of the examples, every class in proportion.

    Helps as the baseline: it needs no trained model, so a strategy that does not beat it is not worth its scores.
    """

    name = "random"
    summary = "a random fraction F of the examples, every class in proportion"
    family = "Random Sample"
    nested = True
    source = "Shleifer & Prokop 2019, section 3.2 (All Classes-F)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    @property
    def balanced(self) -> bool:
        return True

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        return sample(pool.labels, self.size(pool), rng)
