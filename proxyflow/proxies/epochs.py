"""Fewer epochs, with a learning-rate schedule of their own length."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from proxyflow.core.settings import Number, setting
from proxyflow.proxies.reduction import Reduction, register_reduction


@register_reduction
@dataclass(frozen=True)
class Epochs(Reduction):
    """N epochs instead of the target's, with the schedule shortened to fit."""

    name = "epochs"
    summary = "N epochs only (the learning-rate schedule shrinks with them)"
    helps = (
        "Costs N epochs of the target's. Takes optimizer steps away, as fewer examples do, but shows the model all of "
        "the data."
    )
    family = "Fewer Epochs"
    source = "Shleifer & Prokop 2019, section 3.2 (All Classes-1.0-epN)"

    count: int = setting(dataclasses.MISSING, Number(low=1, whole=True, example="5"), "epochs to train for", symbol="N")

    def epochs(self, full_epochs: int) -> int:
        return self.count

    def too_long(self, full_epochs: int) -> str:
        return f"a proxy trains for fewer than the study's epochs={full_epochs}" if self.count >= full_epochs else ""
