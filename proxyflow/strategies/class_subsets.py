"""A random fraction of the examples of some classes, for all strategies that select classes."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import UserError
from proxyflow.core.settings import Number, setting
from proxyflow.strategies.base import FRACTION, ExamplePool, Positions, Strategy
from proxyflow.strategies.budget import count
from proxyflow.strategies.random import sample

# With one class there is nothing to learn.
FEWEST_CLASSES = 2
CLASS_COUNT = Number(low=FEWEST_CLASSES, whole=True, example="5")


class ClassSubset(Strategy):
    """A random fraction of the examples of some classes; only these are validated on. Subclasses have `fraction`."""

    nested = True

    if TYPE_CHECKING:
        fraction: float

    @property
    def balanced(self) -> bool:
        return True

    @property
    def depends_on_seed(self) -> bool:
        return self.fraction < 1

    def classes(self, pool: ExamplePool) -> NDArray[np.int64]:
        if reason := self._too_few(pool):
            raise UserError(f"strategy {self.canonical}: {reason}")
        return np.sort(self._kept(pool))

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, int(np.isin(pool.labels, self.classes(pool)).sum())))

    def _too_few(self, pool: ExamplePool) -> str:
        kept = len(self._kept(pool))
        if kept >= FEWEST_CLASSES:
            return ""
        return (
            f"{kept} of {len(pool.all_classes)} classes would remain, and training needs at least {FEWEST_CLASSES}; "
            "use random:F, or a data set with more classes"
        )

    @abstractmethod
    def _kept(self, pool: ExamplePool) -> NDArray[np.int64]:
        """The labels that are trained on."""

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        members = np.flatnonzero(np.isin(pool.labels, self.classes(pool)))
        return members[sample(pool.labels[members], self.size(pool), rng)]


@dataclass(frozen=True)
class ByConfusion(ClassSubset):
    """Some of the classes, by how a model confuses them."""

    count: int = setting(dataclasses.MISSING, CLASS_COUNT, "how many classes", symbol="K")
    fraction: float = setting(1.0, FRACTION, "share of the examples of these classes")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"confusion"})

    def size(self, pool: ExamplePool) -> int:
        if pool.confusion is not None:
            return super().size(pool)
        sizes = np.sort(np.unique(pool.labels, return_counts=True)[1])
        return max(1, count(self.fraction, int(sizes[: self.count].sum())))

    def _promised(self, pool: ExamplePool) -> NDArray[np.int64]:
        return super()._promised(pool) if pool.confusion is not None else pool.all_classes  # it may be any of them

    def _too_few(self, pool: ExamplePool) -> str:
        there = len(pool.all_classes)
        return f"{self.count} classes are requested, and there are {there}" if self.count > there else ""

    def _kept(self, pool: ExamplePool) -> NDArray[np.int64]:
        classes = pool.all_classes
        assert pool.confusion is not None
        return classes[self._pick(pool.confusion[np.ix_(classes, classes)])]

    @abstractmethod
    def _pick(self, confusion: NDArray[np.float64]) -> NDArray[np.intp]:
        """Rows of `count` classes; row c of `confusion` has the mean predicted probabilities of class c."""
