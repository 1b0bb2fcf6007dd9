"""What all strategies by class share: some classes, and of these a random fraction of the examples."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxyflow.errors import UserError
from proxyflow.settings import Number
from proxyflow.strategies.base import Pool, Positions, Strategy
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

    def _check_count(self, count: int, pool: Pool) -> None:
        """Refuses to keep more classes than there are."""
        if count > len(pool.all_classes):
            raise UserError(
                f"strategy {self.canonical}: {count} classes are wanted, and there are {len(pool.all_classes)}"
            )
