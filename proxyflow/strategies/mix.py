"""Half easy, half random: what can be learnt quickly, with some of everything."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.settings import setting
from proxyflow.strategies.base import BALANCE, FRACTION, Pool, Positions, Strategy, register
from proxyflow.strategies.budget import count
from proxyflow.strategies.full import Full
from proxyflow.strategies.random import sample
from proxyflow.strategies.ranking import BY, Ranked, hardest_first, slice_of


@register
@dataclass(frozen=True)
class Mix(Ranked):
    """Half of the budget the easiest examples, half a random sample of the others, every class in proportion.

    Helps where the easiest alone are so alike that every configuration learns them. Costs one training on all
    examples, which all strategies by scores share.
    """

    name = "mix"
    summary = "the fraction F of the examples, half of it the easiest and half at random from the rest"
    family = "Mixtures"
    source = "after Shleifer & Prokop 2019, section 3.2 (of its easy and its random proxies)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
    by: str = setting("loss", BY, "the score that says which are easiest")
    balance: str = setting(
        "none", BALANCE, "class: the easiest of every class in proportion; none: as the score has it"
    )

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        total = max(1, count(self.fraction, len(pool)))
        easy = -(-total // 2)
        chosen = slice_of(hardest_first(pool, self.by, rng)[::-1], pool.labels, 0, easy, self.balance)
        rest = np.setdiff1d(np.arange(len(pool)), chosen)
        return np.concatenate([chosen, rest[sample(pool.labels[rest], total - easy, rng)]])
