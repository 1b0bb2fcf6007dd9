"""A reduction: fewer points at which the trainer `surface` evaluates its surface."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from proxyflow.core.settings import Number, setting
from proxyflow.proxies import Reduction


@dataclass(frozen=True)
class Points(Reduction):
    """N points of the surface instead of a hundred."""

    name = "points"
    summary = "N points of the surface instead of 100, for trainers that evaluate points"
    helps = "Costs N hundredths of the target, and knows errors to 1/N."
    family = "Fewer Points"
    source = "an example, 2026"

    count: int = setting(dataclasses.MISSING, Number(low=1, whole=True, example="10"), "points to evaluate", symbol="N")
