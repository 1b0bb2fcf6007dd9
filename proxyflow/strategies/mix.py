"""Half easy, half random: examples that are learned quickly, with a sample of all others."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.core.settings import setting
from proxyflow.strategies.base import BALANCE, FRACTION, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import count
from proxyflow.strategies.full import Full
from proxyflow.strategies.random import sample
from proxyflow.strategies.ranking import BY, Ranked, hardest_first, slice_of


@register_strategy
@dataclass(frozen=True)
class Mix(Ranked):
    """Half of the budget the easiest examples, half a random sample of the others, every class in proportion.

    Helps where the easiest examples alone are so similar that every configuration learns them. Costs one training on
    all examples, shared by all strategies that use scores.
    """

    name = "mix"
    summary = "the fraction F of the examples, half of it the easiest and half at random from the rest"
    family = "Mixtures"
    source = "after Shleifer & Prokop 2019, section 3.2 (of its easy and its random proxies)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
    by: str = setting("loss", BY, "the score by which examples are easiest")
    balance: str = setting(
        "none", BALANCE, "class: the easiest of every class in proportion; none: as the score has it"
    )

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        total = self.size(pool)
        easy = -(-total // 2)
        chosen = slice_of(hardest_first(pool, self.by, rng)[::-1], pool.labels, 0, easy, self.balance)
        rest = np.setdiff1d(np.arange(len(pool)), chosen)
        return np.concatenate([chosen, rest[sample(pool.labels[rest], total - easy, rng)]])
