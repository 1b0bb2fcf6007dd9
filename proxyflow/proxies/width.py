"""Narrower networks: a fraction of the channels of the configuration's own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from proxyflow.core.settings import Number, setting
from proxyflow.proxies.reduction import Reduction, register_reduction

MULTIPLE = 8  # of channels, as arithmetic on GPUs prefers it


@register_reduction
@dataclass(frozen=True)
class Width(Reduction):
    """The configuration's network with a fraction of its channels."""

    name = "width"
    summary = "the configuration's network with a fraction F of its channels, rounded to multiples of 8"
    helps = (
        "Costs about F^2 of the target's arithmetic, and up to F of its time where memory decides. Keeps all optimizer "
        "steps."
    )
    family = "Narrower Networks"
    source = "Zhou et al. 2020, EcoNAS, arXiv 2001.01233 (number of channels)"

    fraction: float = setting(
        dataclasses.MISSING, Number(low=0, high=1, above=True, example="0.5"), "share of the channels", symbol="F"
    )

    @property
    def changes_nothing(self) -> bool:
        return self.fraction == 1


def channels_at(channels: int, fraction: float) -> int:
    """A number of channels at a fraction: the nearest multiple of 8, at least 8, never more than there are.

    Example:
        >>> channels_at(64, 0.5), channels_at(32, 0.35), channels_at(4, 0.5)
        (32, 8, 4)
    """
    if fraction == 1:
        return channels
    return min(channels, max(MULTIPLE, MULTIPLE * int(channels * fraction / MULTIPLE + 0.5)))
