"""Any window of the ranking, as in the published table: hard-a-b."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import setting
from proxyflow.strategies.base import BALANCE, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.budget import exact
from proxyflow.strategies.easiest import Easiest
from proxyflow.strategies.full import Full
from proxyflow.strategies.hardest import Hardest
from proxyflow.strategies.ranking import BY, Ranked, hardest_first, places, slice_of


@dataclass(frozen=True)
class Window:
    """Two quantiles, `a-b` with 0 <= a < b <= 1."""

    accepted = "two quantiles a-b with 0 <= a < b <= 1 (for example 0.25-0.75)"

    def parse(self, name: str, value: object) -> str:
        begin, dash, end = str(value).partition("-")
        try:
            low, high = float(begin) + 0.0, float(end) + 0.0
        except ValueError:
            low = high = float("nan")
        if not dash or "_" in str(value) or not 0 <= low < high <= 1:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        # A plain decimal: the dash of 1e-05 would be read as the one between the two.
        return "-".join(f"{Decimal(repr(bound)):f}" for bound in (low, high))


@register_strategy
@dataclass(frozen=True)
class Slice(Ranked):
    """The examples from quantile a to quantile b of the ranking, hardest first.

    Helps to see which part of the difficulty range preserves the ranking of configurations: the middle, for instance,
    without trivial and possibly mislabeled examples. Costs one training on all examples, shared by all strategies that
    use scores. A window that begins or ends at an edge is spelled `hardest` or `easiest`.
    """

    name = "slice"
    summary = "the examples from quantile a to quantile b of the ranking, hardest first"
    family = "Slices"
    source = "Shleifer & Prokop 2019, section 3.2 and Table 2 (hard-a-b)"

    window: str = setting(dataclasses.MISSING, Window(), "quantiles of the ranking, hardest first", symbol="a-b")
    by: str = setting("loss", BY, "the score to rank by")
    balance: str = setting("none", BALANCE, "class: every class in proportion; none: as the score has it")

    @property
    def bounds(self) -> tuple[float, float]:
        """a and b."""
        low, _, high = self.window.partition("-")
        return float(low), float(high)

    def simplified(self) -> Strategy:
        low, high = self.bounds
        if (low, high) == (0, 1):
            return Full()
        if high == 1:
            return Easiest(float(1 - exact(low)), self.by, self.balance)
        if exact(low) + exact(high) <= 1:
            return Hardest(high, low, self.by, self.balance)
        return self

    def size(self, pool: ExamplePool) -> int:
        return len(places(*self.bounds, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        kept = places(*self.bounds, len(pool))
        return slice_of(hardest_first(pool, self.by, rng), pool.labels, kept.start, kept.stop, self.balance)
