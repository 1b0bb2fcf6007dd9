"""Smaller batches: more optimizer steps on equally many examples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxyflow.core.settings import Choice, Number, setting
from proxyflow.proxies.reduction import Reduction, register_reduction

NO_SCALING = "none"
FACTORS: Mapping[str, Callable[[float], float]] = {
    NO_SCALING: lambda ratio: 1.0,
    "linear": lambda ratio: ratio,
    "sqrt": math.sqrt,
}


@register_reduction
@dataclass(frozen=True)
class Batch(Reduction):
    """Batches of at most N examples, with the learning rate scaled on request.

    Configurations with smaller batches keep theirs.
    """

    name = "batch"
    summary = "batches of at most N examples: more optimizer steps on as many examples"
    helps = (
        "Costs as much arithmetic as before, and more time where the device is not filled. Join it to a reduction that "
        "takes steps away: random:0.25+batch:16."
    )
    family = "Smaller Batches"
    source = (
        "Krizhevsky 2014, arXiv 1404.5997, section 5 (sqrt); Goyal et al. 2017, arXiv 1706.02677, section 2.1 (linear)"
    )

    count: int = setting(dataclasses.MISSING, Number(low=2, whole=True, example="16"), "examples per batch", symbol="N")
    scale: str = setting(
        NO_SCALING,
        Choice(tuple(FACTORS)),
        "how the learning rate shrinks with the batch: by the ratio, its root, or not",
    )

    @property
    def scales(self) -> bool:
        """Whether the learning rate is scaled."""
        return self.scale != NO_SCALING

    def size_of(self, batch_size: int) -> int:
        """The batch size of a configuration that has `batch_size`."""
        return min(self.count, batch_size)

    def factor(self, batch_size: int) -> float:
        """What the learning rate of a configuration with `batch_size` is multiplied by.

        Example:
            >>> Batch(16, "linear").factor(64), Batch(16, "sqrt").factor(64), Batch(16).factor(64)
            (0.25, 0.5, 1.0)
        """
        return FACTORS[self.scale](self.size_of(batch_size) / batch_size)
