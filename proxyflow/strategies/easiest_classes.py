"""The classes that a model recognizes with the highest probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.strategies.base import register_strategy
from proxyflow.strategies.class_subsets import ByConfusion


@register_strategy
@dataclass(frozen=True)
class EasiestClasses(ByConfusion):
    """A random fraction of the examples of the K classes whose true class is predicted with the highest probability.

    Uses the mean probability of the true class, of models that did not train on the example where the score run has
    folds, else early in training. Helps as the counterpart of `confusable-classes`: it shows how much of a proxy's
    quality comes from classes that are hard to separate. Costs one training on all examples.
    """

    name = "easiest-classes"
    summary = "the K classes that a model recognises most surely; validates on those classes"
    family = "Class Subsets"
    source = "after Shleifer & Prokop 2019, section 3.2 (Half Classes), chosen by the confusion matrix"

    def _pick(self, confusion: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.argsort(-np.diagonal(confusion), kind="stable")[: self.count]
