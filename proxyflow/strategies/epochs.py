"""Fewer epochs on all data: the proxy that most hyperparameter searches use."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.core.settings import Number, setting
from proxyflow.strategies.base import ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.full import Full


@register_strategy
@dataclass(frozen=True)
class Epochs(Strategy):
    """All examples, trained on for fewer epochs with the schedule shortened to fit."""

    name = "epochs"
    summary = "every training example, but N epochs only (the learning-rate schedule shrinks with them)"
    family = "Fewer Epochs"
    source = "Shleifer & Prokop 2019, section 3.2 (All Classes-1.0-epN)"
    reduces = frozenset({"epochs"})

    count: int = setting(dataclasses.MISSING, Number(low=1, whole=True, example="5"), "epochs to train for", symbol="N")

    @property
    def depends_on_seed(self) -> bool:
        return False

    @property
    def data_strategy(self) -> Strategy:
        return Full()

    def epochs(self, full_epochs: int) -> int:
        return self.count

    def too_long(self, full_epochs: int) -> str:
        return f"a proxy trains for fewer than the study's epochs={full_epochs}" if self.count >= full_epochs else ""

    def size(self, pool: ExamplePool) -> int:
        return len(pool)

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        return np.arange(len(pool))
