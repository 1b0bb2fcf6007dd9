"""The classes that a model tells apart most surely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.strategies.base import register
from proxyflow.strategies.class_subsets import ByConfusion


@register
@dataclass(frozen=True)
class EasiestClasses(ByConfusion):
    """A random fraction of the examples of the K classes whose examples are given their own class most surely.

    Judged by the mean probability of the own class, under models that did not see the example where the score run has
    folds, else early in training. Helps as the counterpart of `confusable-classes`: how much of a proxy's worth is in
    classes that are hard to tell apart. Costs one training on all examples.
    """

    name = "easiest-classes"
    summary = "the K classes that a model recognises most surely; validates on those classes"
    family = "Class Subsets"
    source = "after Shleifer & Prokop 2019, section 3.2 (Half Classes), chosen by the confusion matrix"

    def _pick(self, confusion: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.argsort(-np.diagonal(confusion), kind="stable")[: self.count]
