"""Half easy, half random: examples that are learned quickly, with a sample of all others."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.settings import setting
from proxyflow.strategies.base import BALANCE, FRACTION, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import apportion, count, members_by_class
from proxyflow.strategies.full import Full
from proxyflow.strategies.ranking import BY, Ranked, hardest_first


@register_strategy
@dataclass(frozen=True)
class Mix(Ranked):
    """Half of the budget the easiest examples, half a random sample of the others.

    The sample follows one random order of all examples that has every class in proportion, and skips those that are
    among the easiest. With `balance=class` both halves are chosen in every class.

    Helps where the easiest examples alone are so similar that every configuration learns them. Costs one training on
    all examples, shared by all strategies that use scores.
    """

    name = "mix"
    summary = "the fraction F of the examples, half of it the easiest and half at random from the rest"
    family = "Mixtures"
    nested = True
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
        easiest_first = hardest_first(pool, self.by, rng)[::-1]
        drawn = proportional_order(pool.labels, rng)
        if not self.balanced:
            return _half_and_half(easiest_first, drawn, total, -(-total // 2))
        groups, of_drawn = members_by_class(pool.labels[easiest_first]), members_by_class(pool.labels[drawn])
        shares = apportion(total, [len(group) for group in groups])
        # Odd shares are rounded up and down in turn, for about half in total.
        easy = [(share + (number + 1) % 2) // 2 for number, share in enumerate(shares)]
        each = zip(groups, of_drawn, shares, easy, strict=True)
        return np.concatenate([_half_and_half(easiest_first[a], drawn[b], *numbers) for a, b, *numbers in each])


def _half_and_half(easiest_first: Positions, drawn: Positions, total: int, easy: int) -> Positions:
    """The first `easy` of one order, and the first of the other that are not among these.

    Where neither `easy` nor `total - easy` becomes smaller, the choice becomes a superset: of the second order, what is
    no longer taken as drawn is taken as easy.
    """
    chosen = easiest_first[:easy]
    return np.concatenate([chosen, drawn[~np.isin(drawn, chosen)][: total - easy]])


def proportional_order(labels: NDArray[np.int64], rng: np.random.Generator) -> Positions:
    """All positions in a random order that begins with every class in proportion, wherever it is cut."""
    groups = members_by_class(labels)
    # The seats of `apportion` with their priorities, which differ by more than a float's rounding.
    priority = np.concatenate([np.arange(1, 2 * len(group), 2) / len(group) for group in groups])
    return np.concatenate([rng.permutation(group) for group in groups])[np.argsort(priority, kind="stable")]
