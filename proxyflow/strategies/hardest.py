"""The hardest examples by a score, optionally without the very hardest, which may be mislabeled."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Number, setting
from proxyflow.strategies.base import BALANCE, FRACTION, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import exact
from proxyflow.strategies.full import Full
from proxyflow.strategies.ranking import BY, Ranked, hardest_first, places, slice_of


@register_strategy
@dataclass(frozen=True)
class Hardest(Ranked):
    """The examples that a trained model finds hardest, after discarding a few that may be mislabeled.

    `hardest:F,drop=D` is the slice from quantile D to quantile F, hardest first, so it holds F - D of the
    examples: the published table's `hard-0.05-0.5` is `hardest:0.5,drop=0.05`, 45 % of them.

    Helps where half of the data or more is kept and a model can learn them; small sets of the hardest examples are the
    worst proxies of the published table. Costs one training on all examples, shared by all strategies that use scores.
    """

    name = "hardest"
    summary = "the fraction F found hardest; drop=D discards the hardest D of all first and keeps F - D"
    family = "Hard Examples"
    nested = True
    source = "Shleifer & Prokop 2019, section 3.2 (hard-D-F)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
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
        if exact(self.drop) + exact(self.fraction) > 1:
            # Keeping F after dropping would need more examples than there are; a slice is unambiguous.
            raise InvalidValue(
                "strategy hardest: drop",
                self.drop,
                f"drop + F={self.fraction} is over 1; write slice:{self.drop}-{self.fraction} for all from quantile "
                f"{self.drop} to quantile {self.fraction}, hardest first",
            )

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 and self.drop == 0 else self

    def size(self, pool: ExamplePool) -> int:
        return len(places(self.drop, self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        kept = places(self.drop, self.fraction, len(pool))
        return slice_of(hardest_first(pool, self.by, rng), pool.labels, kept.start, kept.stop, self.balance)
