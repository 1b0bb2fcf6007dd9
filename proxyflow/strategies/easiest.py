"""The easiest examples by a score: the cheapest proxies that the paper found to rank configurations well."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.core.settings import setting
from proxyflow.strategies.base import BALANCE, FRACTION, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import count
from proxyflow.strategies.full import Full
from proxyflow.strategies.ranking import BY, Ranked, hardest_first, slice_of


@register_strategy
@dataclass(frozen=True)
class Easiest(Ranked):
    """The examples that a trained model finds easiest.

    Helps where a small proxy has to be learnable within few steps: of the proxies with 10 % of the data these rank
    configurations best in the published table. Costs one training on all examples, shared by all strategies that use
    scores.
    """

    name = "easiest"
    summary = "the fraction F of the examples that a model trained on all of them finds easiest"
    family = "Easy Examples"
    nested = True
    source = "Shleifer & Prokop 2019, section 3.2 (hard-(1-F)-1.0)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
    by: str = setting("loss", BY, "the score to rank by")
    balance: str = setting("none", BALANCE, "class: every class in proportion; none: as the score has it")

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        order = hardest_first(pool, self.by, rng)[::-1]
        return slice_of(order, pool.labels, 0, self.size(pool), self.balance)
