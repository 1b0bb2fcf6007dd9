"""Fewer classes instead of fewer examples per class: an easier task that needs no trained model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.errors import UserError
from proxyflow.settings import setting
from proxyflow.strategies.base import FRACTION, Pool, Positions, Strategy, register
from proxyflow.strategies.random import stratified_sample


@register
@dataclass(frozen=True)
class HalfClasses(Strategy):
    """A random fraction of the examples of the first half of the classes, rounded up."""

    name = "half-classes"
    summary = "a random fraction F of the examples of the first half of the classes; validates on those classes"
    family = "Half Classes"
    source = "Shleifer & Prokop 2019, section 3.2 (Half Classes-F)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of the examples of these classes", symbol="F")

    @property
    def depends_on_seed(self) -> bool:
        return self.fraction < 1

    def classes(self, all_classes: NDArray[np.int64]) -> NDArray[np.int64]:
        kept = self._half(all_classes)
        if len(kept) < 2:
            raise UserError(
                f"strategy {self.canonical}: {len(kept)} of {len(all_classes)} classes would remain, and training "
                "needs at least 2; use random:F, or a data set with at least "
                f"{'4' if isinstance(self, OtherHalfClasses) else '3'} classes"
            )
        return kept

    def _half(self, all_classes: NDArray[np.int64]) -> NDArray[np.int64]:
        return all_classes[: -(-len(all_classes) // 2)]

    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        members = np.flatnonzero(np.isin(pool.labels, self.classes(pool.all_classes)))
        return members[stratified_sample(pool.labels[members], self.fraction, rng)]


@register
@dataclass(frozen=True)
class OtherHalfClasses(HalfClasses):
    """A random fraction of the examples of the remaining classes."""

    name = "other-half-classes"
    summary = "as half-classes, with the other half of the classes"
    source = "Shleifer & Prokop 2019, Table 2 (Other Half Classes-F)"

    def _half(self, all_classes: NDArray[np.int64]) -> NDArray[np.int64]:
        return all_classes[-(-len(all_classes) // 2) :]
