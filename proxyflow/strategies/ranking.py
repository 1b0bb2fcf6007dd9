"""Ranking examples by a score and taking a part of the ranking, for all strategies that do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxyflow.scores import ScoreName, known_scores, score_of
from proxyflow.strategies.base import ExamplePool, Positions, Strategy
from proxyflow.strategies.budget import apportion, count, members_by_class

BY = ScoreName(known_scores)
# Breaks ties of other scores.
TIE_BREAK = "margin"


def hardest_first(pool: ExamplePool, by: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions from hardest to easiest; equal scores by margin, then by a seeded shuffle.

    A sort alone would leave ties in the order of the files, which is often the order of the classes.
    """
    shuffle = rng.permutation(len(pool))
    score = score_of(by)
    assert score is not None
    hardness = score.hardness(pool.scores[by])
    by_margin = known_scores[TIE_BREAK].hardness(pool.scores[TIE_BREAK])
    return np.lexsort((shuffle, -by_margin, -hardness))


def places(low: float, high: float, n: int) -> range:
    """The places from quantile `low` to quantile `high` of `n` in a ranking; at least one."""
    start = min(count(low, n), n - 1)
    return range(start, max(count(high, n), start + 1))


def slice_of(order: NDArray[np.int64], labels: NDArray[np.int64], start: int, stop: int, balance: str) -> Positions:
    """Positions `start` to `stop` of `order`; with `balance=class` in every class in proportion.

    A later `stop` with the same `start` gives a superset.
    """
    if balance == "none":
        return order[start:stop]
    groups = members_by_class(labels[order])
    sizes = [len(group) for group in groups]
    # Of what is discarded no class needs a member, but each needs one that is left, as far as that is possible. Whether
    # it is must not depend on `stop`, or a later one would not give a superset.
    spared = int(len(order) - start >= len(groups))
    skipped = apportion(start, [size - spared for size in sizes], at_least_one=False)
    taken = apportion(stop - start, [size - skip for size, skip in zip(sizes, skipped, strict=True)])
    return np.concatenate(
        [order[group[skip : skip + take]] for group, skip, take in zip(groups, skipped, taken, strict=True)]
    )


class Ranked(Strategy):
    """Selects in the order of a score; its subclasses have the options `by` and `balance`."""

    if TYPE_CHECKING:  # declared by each, after the options of its own
        by: str
        balance: str

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by, TIE_BREAK})

    @property
    def balanced(self) -> bool:
        return self.balance == "class"
