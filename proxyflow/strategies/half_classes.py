"""Fewer classes instead of fewer examples per class: an easier task that needs no trained model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.settings import setting
from proxyflow.strategies.base import FRACTION, ExamplePool, register_strategy
from proxyflow.strategies.class_subsets import ClassSubset


@register_strategy
@dataclass(frozen=True)
class HalfClasses(ClassSubset):
    """A random fraction of the examples of the first half of the classes, rounded up.

    Helps where all examples of a class are needed to learn it: at half of the cost it is among the best proxies of the
    published table. Needs no trained model.
    """

    name = "half-classes"
    summary = "a random fraction F of the examples of the first half of the classes; validates on those classes"
    family = "Half Classes"
    source = "Shleifer & Prokop 2019, section 3.2 (Half Classes-F)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of the examples of these classes", symbol="F")

    def _kept(self, pool: ExamplePool) -> NDArray[np.int64]:
        return pool.all_classes[: -(-len(pool.all_classes) // 2)]


@register_strategy
@dataclass(frozen=True)
class OtherHalfClasses(HalfClasses):
    """A random fraction of the examples of the remaining classes."""

    name = "other-half-classes"
    summary = "as half-classes, with the other half of the classes"
    source = "Shleifer & Prokop 2019, Table 2 (Other Half Classes-F)"

    def _kept(self, pool: ExamplePool) -> NDArray[np.int64]:
        return pool.all_classes[-(-len(pool.all_classes) // 2) :]
