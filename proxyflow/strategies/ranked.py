"""The easiest or the hardest examples by a score: cheap proxies, for the price of one trained model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.errors import InvalidValue, UserError
from proxyflow.scoring.measures import measures
from proxyflow.settings import Choice, Number, setting
from proxyflow.strategies.base import FRACTION, Pool, Positions, Strategy, register
from proxyflow.strategies.budget import apportion, count
from proxyflow.strategies.full import Full

BY = Choice(tuple(measures))
BALANCE = Choice(("none", "class"))


def hardest_first(pool: Pool, by: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions from hardest to easiest; equal scores by margin, then by a seeded shuffle.

    A sort alone would leave ties in the order of the files, which is often the order of the classes.
    """
    if not pool.scores:
        raise UserError(f"ranking by {by} needs scores: run the entry point score first")
    shuffle = rng.permutation(len(pool))
    hardness = measures[by].hardness(pool.scores[by])
    by_margin = measures["margin"].hardness(pool.scores["margin"])
    return np.lexsort((shuffle, -by_margin, -hardness))


@dataclass(frozen=True)
class Ranked(Strategy):
    """A slice of the examples in the order of a score."""

    needs_scores = True

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")

    def _slice(self, order: NDArray[np.int64], pool: Pool, start: int, stop: int, balance: str) -> Positions:
        """Positions `start` to `stop` of `order`; with `balance=class` in every class in proportion."""
        if balance == "none":
            return order[start:stop]
        labels = pool.labels[order]
        classes, sizes = np.unique(labels, return_counts=True)
        # What is discarded needs no member of every class; what is kept does.
        skipped = apportion(start, sizes.tolist(), at_least_one=False)
        left = [int(size) - skip for size, skip in zip(sizes, skipped, strict=True)]
        taken = apportion(stop - start, left)
        return np.concatenate(
            [
                order[labels == label][skip : skip + take]
                for label, skip, take in zip(classes, skipped, taken, strict=True)
            ]
        )


@register
@dataclass(frozen=True)
class Easiest(Ranked):
    """The examples that a trained model finds easiest."""

    name = "easiest"
    summary = "the fraction F of the examples that a model trained on all of them finds easiest"
    family = "Easy Examples"
    source = "Shleifer & Prokop 2019, section 3.2 (hard-(1-F)-1.0)"

    by: str = setting("loss", BY, "the score to rank by")
    balance: str = setting("none", BALANCE, "class: every class in proportion; none: as the score has it")

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        order = hardest_first(pool, self.by, rng)[::-1]
        return self._slice(order, pool, 0, max(1, count(self.fraction, len(pool))), self.balance)


@register
@dataclass(frozen=True)
class Hardest(Ranked):
    """The examples that a trained model finds hardest, after discarding a few that may be mislabelled.

    `hardest:F,drop=D` is the slice from quantile D to quantile F, hardest first, so it holds F - D of the
    examples: the published table's `hard-0.05-0.5` is `hardest:0.5,drop=0.05`, 45 % of them.
    """

    name = "hardest"
    summary = "the fraction F found hardest; drop=D discards the hardest D of all first and keeps F - D"
    family = "Hard Examples"
    source = "Shleifer & Prokop 2019, section 3.2 (hard-D-F)"

    drop: float = setting(
        0.0, Number(low=0, high=1, below=True, example="0.05"), "share discarded as too hard, below F"
    )
    by: str = setting("loss", BY, "the score to rank by")
    balance: str = setting("none", BALANCE, "class: every class in proportion; none: as the score has it")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drop >= self.fraction:
            raise InvalidValue(
                "strategy hardest: drop",
                self.drop,
                f"it must be below F={self.fraction}, or nothing is left: F - drop of the examples are kept",
            )

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 and self.drop == 0 else self

    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        start = min(count(self.drop, len(pool)), len(pool) - 1)
        stop = max(count(self.fraction, len(pool)), start + 1)
        return self._slice(hardest_first(pool, self.by, rng), pool, start, stop, self.balance)
