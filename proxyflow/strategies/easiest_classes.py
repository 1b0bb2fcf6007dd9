"""The classes that a model tells apart most surely."""

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
class EasiestClasses(ClassSubset):
    """A random fraction of the examples of the K classes whose examples are given their own class most surely.

    Judged by the mean probability of the own class, under models that did not see the example where the score run has
    folds, else early in training. Helps as the counterpart of `confusable-classes`: how much of a proxy's worth is in
    classes that are hard to tell apart. Costs one training on all examples.
    """

    name = "easiest-classes"
    summary = "the K classes that a model recognises most surely; validates on those classes"
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
        own = pool.confusion[pool.all_classes, pool.all_classes]
        return pool.all_classes[np.argsort(-own, kind="stable")[: self.count]]
