"""The classes that a model mistakes for each other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.settings import setting
from proxyflow.strategies.base import FRACTION, Pool, register
from proxyflow.strategies.class_subsets import CLASS_COUNT, ClassSubset


@register
@dataclass(frozen=True)
class ConfusableClasses(ClassSubset):
    """A random fraction of the examples of K classes that are mistaken for each other.

    Begins with the pair that is mistaken most, and adds the class that is mistaken most for those there are: the
    largest sum over all sets of K classes would take too long to look for. Judged as `easiest-classes`. Helps where
    fewer classes make the task too easy to tell configurations apart. Costs one training on all examples.
    """

    name = "confusable-classes"
    summary = "K classes that a model mistakes for each other; validates on those classes"
    family = "Class Subsets"
    source = "after Shleifer & Prokop 2019, section 3.2 (Half Classes), chosen by the confusion matrix"

    count: int = setting(dataclasses.MISSING, CLASS_COUNT, "how many classes", symbol="K")
    fraction: float = setting(1.0, FRACTION, "share of the examples of these classes")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"confusion"})

    def _kept(self, pool: Pool) -> NDArray[np.int64]:
        self._check_count(self.count, pool)
        assert pool.confusion is not None
        between = pool.confusion[np.ix_(pool.all_classes, pool.all_classes)]
        between = between + between.T
        np.fill_diagonal(between, -np.inf)
        chosen = list(np.unravel_index(np.argmax(between), between.shape))
        while len(chosen) < self.count:
            towards = between[:, chosen].sum(axis=1)
            towards[chosen] = -np.inf
            chosen.append(np.argmax(towards))
        return pool.all_classes[np.array(chosen)]
