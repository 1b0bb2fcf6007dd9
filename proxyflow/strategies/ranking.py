"""Ranking examples by a score and taking a part of the ranking, for all strategies that do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxyflow.scores import ScoreName, known_scores, score_of
from proxyflow.strategies.base import ExamplePool, Positions, Strategy
from proxyflow.strategies.budget import apportion, count

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
    """Positions `start` to `stop` of `order`; with `balance=class` in every class in proportion."""
    if balance == "none":
        return order[start:stop]
    ordered = labels[order]
    classes, sizes = np.unique(ordered, return_counts=True)
    # What is discarded needs no member of every class; what is kept does.
    skipped = apportion(start, sizes.tolist(), at_least_one=False)
    if stop - start >= len(classes):
        _leave_one_each(skipped, sizes.tolist())
    left = [int(size) - skip for size, skip in zip(sizes, skipped, strict=True)]
    taken = apportion(stop - start, left)
    return np.concatenate(
        [order[ordered == label][skip : skip + take] for label, skip, take in zip(classes, skipped, taken, strict=True)]
    )


def _leave_one_each(skipped: list[int], sizes: list[int]) -> None:
    """Moves what would be skipped of a class's last member to the class that is skipped furthest below its quota."""
    total, everything = sum(skipped), sum(sizes)
    for part, size in enumerate(sizes):
        if skipped[part] == size:
            below = {p: total * sizes[p] - skipped[p] * everything for p, s in enumerate(sizes) if skipped[p] < s - 1}
            skipped[part] -= 1
            skipped[max(below, key=lambda p: below[p])] += 1


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
