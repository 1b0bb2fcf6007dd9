"""Coverage of all difficulties: evenly many examples of each part of a score's range, without the very hardest."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Number, setting
from proxyflow.scores import score_of
from proxyflow.strategies.base import FRACTION, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import count, exact, members_by_class
from proxyflow.strategies.full import Full
from proxyflow.strategies.ranking import BY, TIE_BREAK, hardest_first


@register_strategy
@dataclass(frozen=True)
class Coverage(Strategy):
    """Coverage-centric coreset selection: drops the hardest examples, samples the others evenly over strata of a score.

    The range of the score of the examples that are left is divided into `strata` intervals of equal width. From the
    stratum with the fewest examples to that with the most, each gives an equal part of the budget that is left, or all
    that it has; so rare difficulties are sampled as much as frequent ones. Helps for small fractions, where the hardest
    or the easiest examples alone miss most of the data. Costs one training on all examples, shared by all strategies
    that use scores.

    The paper stratifies by AUM and tunes the share that is dropped for each data set and fraction; it is larger where F
    is smaller.
    """

    name = "coverage"
    summary = "the fraction F of all examples, evenly over strata of a score, without the hardest D (drop=D)"
    family = "Coverage"
    helps = (
        "Costs a training on all examples for the scores. Helps where few examples are kept, of which the easiest or "
        "hardest are one-sided."
    )
    source = "Zheng et al. 2023, arXiv 2210.15809, algorithm 1"
    nested = True

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
    drop: float = setting(
        0.1, Number(low=0, high=1, below=True, example="0.1"), "share discarded as too hard, at most 1 - F"
    )
    strata: int = setting(50, Number(low=1, whole=True, example="50"), "intervals of equal width of the score's range")
    by: str = setting("loss", BY, "the score to stratify by")

    def __post_init__(self) -> None:
        super().__post_init__()
        if exact(self.drop) + exact(self.fraction) > 1:
            rule = (
                f"{self.fraction} of all examples cannot be chosen after {self.drop} of them are dropped; F may be at "
                f"most {float(1 - exact(self.drop))!r}, or drop at most {float(1 - exact(self.fraction))!r}"
            )
            raise InvalidValue("strategy coverage: F", self.fraction, rule)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by, TIE_BREAK})

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        order = hardest_first(pool, self.by, rng)
        # Where half an example would be dropped it is kept, so that F = 1 - drop has all that are left.
        kept = max(1, int((1 - exact(self.drop)) * len(pool) + Fraction(1, 2)))
        left = order[len(order) - kept :]
        score = score_of(self.by)
        assert score is not None
        stratum = strata_of(score.hardness(pool.scores[self.by][left]), self.strata)
        # All strata are shuffled, whatever they give, so that the budget does not affect what is drawn.
        members = [rng.permutation(group) for group in members_by_class(stratum)]
        shares = even_shares(self.size(pool), [len(each) for each in members])
        return np.concatenate([left[each[:share]] for each, share in zip(members, shares, strict=True)])


def strata_of(values: NDArray[np.float64], strata: int) -> NDArray[np.int64]:
    """`(n,)` the interval of each value, of so many of equal width from the smallest to the largest value."""
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), dtype=np.int64)
    # Halves, as the range of finite numbers may not be finite.
    place = (values / 2 - low / 2) / (high / 2 - low / 2)
    found: NDArray[np.int64] = np.minimum((place * strata).astype(np.int64), strata - 1)
    return found


def even_shares(total: int, sizes: list[int]) -> list[int]:
    """How many each stratum gives: the smallest first, each an equal part of the budget that is left, or all it has.

    No stratum is empty. Adds up to `total`, which is at most `sum(sizes)`. A larger total takes nothing from a stratum.
    """
    shares = [0] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda number: (sizes[number], number))
    for done, number in enumerate(order):
        shares[number] = min(sizes[number], total // (len(order) - done))
        total -= shares[number]
    return shares
