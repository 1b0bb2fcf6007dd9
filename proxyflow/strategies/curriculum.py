"""A curriculum: few examples, each drawn from a part of the ranking that grows from the easiest to all."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.seeds import generator
from proxyflow.core.settings import Choice, Number, setting
from proxyflow.strategies.base import FRACTION, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import count
from proxyflow.strategies.ranking import BY, TIE_BREAK, hardest_first

RANDOM = "random"
POSITIVE_SHARE = Number(low=0, high=1, above=True, example="0.2")


@register_strategy
@dataclass(frozen=True)
class Curriculum(Strategy):
    """Presents as many examples as `random:F`, drawn from a part of the ranking that grows during the training.

    The part begins with the first `start` of the ranking and reaches everything after the first `ramp` of the steps
    (`pace=linear` in the number of examples, `root` in its square, `step` at once). A batch holds distinct examples of
    that part, drawn with equal chance from a random stream of the seed and the step. Costs one training on all
    examples for the scores, shared by all strategies that use them; with `order=random`, the control, none.
    """

    name = "curriculum"
    summary = "presents as many examples as random:F, from the easiest at first to all of them"
    family = "Curriculum"
    source = "Bengio et al. 2009; Wu, Dyer & Neyshabur 2021, arXiv 2012.03107, section 4 (pacing functions)"
    reduces = frozenset({"curriculum"})
    ranks = True
    helps = (
        "Costs what random:F does, and with order=easy or hard a training on all examples for the scores. Compare it "
        "with order=random, which has the same pace."
    )

    fraction: float = setting(
        dataclasses.MISSING, FRACTION, "examples per epoch, as a share of all training examples", symbol="F"
    )
    order: str = setting("easy", Choice(("easy", RANDOM, "hard")), "what comes first; random needs no scores")
    pace: str = setting("linear", Choice(("linear", "step", "root")), "how the part of the ranking grows")
    start: float = setting(0.2, POSITIVE_SHARE, "share of the ranking that the first step draws from")
    ramp: float = setting(0.8, POSITIVE_SHARE, "share of the steps after which all examples are drawn from")
    by: str = setting("loss", BY, "the score to rank by")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order == RANDOM and self.by != "loss":
            raise InvalidValue("strategy curriculum: by", self.by, "order=random ranks by no score; leave it out")

    def simplified(self) -> Strategy:
        """Where every step draws from everything, the order has no influence."""
        return Curriculum(self.fraction, RANDOM, start=1.0) if self.start == 1 else self

    @property
    def subset_strategy(self) -> Strategy:
        return Curriculum(1.0, self.order, by=self.by)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.order == RANDOM else frozenset({self.by, TIE_BREAK})

    def size(self, pool: ExamplePool) -> int:
        return len(pool)

    def presented(self, chosen: int) -> int:
        return max(1, count(self.fraction, chosen))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        return np.arange(len(pool))

    def _ranked(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        if self.order == RANDOM:
            return rng.permutation(len(pool))
        order = hardest_first(pool, self.by, rng)
        return order if self.order == "hard" else order[::-1]

    def share(self, progress: float) -> float:
        """The part of the ranking to draw from after a share of the steps.

        Args:
            progress: 0 at the first step; 1 would be the step after the last.

        Example:
            >>> Curriculum(0.25).share(0.4)
            0.6
        """
        grown = progress / self.ramp
        if grown >= 1:
            return 1.0
        if self.pace == "step":
            return self.start
        if self.pace == "root":
            return math.sqrt(self.start**2 + (1 - self.start**2) * grown)
        return self.start + (1 - self.start) * grown

    def draw(self, ranking: NDArray[np.int64], batch_size: int, step: int, steps: int, seed: int) -> NDArray[np.int64]:
        reach = max(batch_size, math.ceil(self.share(step / steps) * len(ranking)))
        return ranking[generator(seed, "curriculum", step).choice(reach, size=batch_size, replace=False)]
