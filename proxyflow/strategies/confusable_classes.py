"""The classes that a model confuses with each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.strategies.base import register_strategy
from proxyflow.strategies.class_subsets import ByConfusion


@register_strategy
@dataclass(frozen=True)
class ConfusableClasses(ByConfusion):
    """A random fraction of the examples of K classes that are confused with each other.

    Starts with the pair that is confused most, and adds the class that is confused most with the chosen ones, because
    the best of all sets of K classes would take too long to find. Uses the probabilities that `easiest-classes` uses.
    Helps where fewer classes make the task too easy to separate configurations. Costs one training on all examples.
    """

    name = "confusable-classes"
    summary = "K classes that a model mistakes for each other; validates on those classes"
    family = "Class Subsets"
    source = "after Shleifer & Prokop 2019, section 3.2 (Half Classes), chosen by the confusion matrix"

    def _pick(self, confusion: NDArray[np.float64]) -> NDArray[np.intp]:
        between = confusion + confusion.T
        np.fill_diagonal(between, -np.inf)
        chosen = list(np.unravel_index(np.argmax(between), between.shape))
        while len(chosen) < self.count:
            towards = between[:, chosen].sum(axis=1)
            towards[chosen] = -np.inf
            chosen.append(np.argmax(towards))
        return np.array(chosen)
