"""What all strategies by class share: some classes, and of these a random fraction of the examples."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxyflow.errors import UserError
from proxyflow.settings import Number, setting
from proxyflow.strategies.base import FRACTION, Pool, Positions, Strategy
from proxyflow.strategies.random import stratified_sample

# Training needs something to tell apart.
FEWEST_CLASSES = 2
CLASS_COUNT = Number(low=FEWEST_CLASSES, whole=True, example="5")


class ClassSubset(Strategy):
    """A random fraction of the examples of some classes, which alone are validated on; subclasses have `fraction`."""

    if TYPE_CHECKING:
        fraction: float

    @property
    def balanced(self) -> bool:
        return True

    @property
    def depends_on_seed(self) -> bool:
        return self.fraction < 1

    def classes(self, pool: Pool) -> NDArray[np.int64]:
        kept = np.sort(self._kept(pool))
        if len(kept) < FEWEST_CLASSES:
            raise UserError(
                f"strategy {self.canonical}: {len(kept)} of {len(pool.all_classes)} classes would remain, and training "
                f"needs at least {FEWEST_CLASSES}; use random:F, or a data set with more classes"
            )
        return kept

    @abstractmethod
    def _kept(self, pool: Pool) -> NDArray[np.int64]:
        """The labels that are trained on."""

    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        members = np.flatnonzero(np.isin(pool.labels, self.classes(pool)))
        return members[stratified_sample(pool.labels[members], self.fraction, rng)]


@dataclass(frozen=True)
class ByConfusion(ClassSubset):
    """Some of the classes, by how a model confuses them."""

    count: int = setting(dataclasses.MISSING, CLASS_COUNT, "how many classes", symbol="K")
    fraction: float = setting(1.0, FRACTION, "share of the examples of these classes")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"confusion"})

    def _kept(self, pool: Pool) -> NDArray[np.int64]:
        classes = pool.all_classes
        if self.count > len(classes):
            raise UserError(f"strategy {self.canonical}: {self.count} classes are wanted, and there are {len(classes)}")
        assert pool.confusion is not None
        return classes[self._pick(pool.confusion[np.ix_(classes, classes)])]

    @abstractmethod
    def _pick(self, confusion: NDArray[np.float64]) -> NDArray[np.intp]:
        """Rows of `count` classes; row c of `confusion` has the mean probabilities that class c is given."""
