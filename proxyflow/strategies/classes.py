"""Classes that the user names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import setting
from proxyflow.core.spelling import LIST
from proxyflow.strategies.base import FRACTION, ExamplePool, register_strategy
from proxyflow.strategies.class_subsets import FEWEST_CLASSES, ClassSubset


@dataclass(frozen=True)
class ClassList:
    """Numbers of classes, joined with `+`."""

    accepted = "the numbers of at least 2 classes, from 0, joined with + (for example 0+3+5)"

    def parse(self, name: str, value: object) -> str:
        parts = [part.strip() for part in str(value).split("+")]
        numbers = {int(part) for part in parts if part.isascii() and part.isdigit()}
        if not all(part.isascii() and part.isdigit() for part in parts) or len(numbers) < FEWEST_CLASSES:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        return "+".join(map(str, sorted(numbers)))


@register_strategy
@dataclass(frozen=True)
class Classes(ClassSubset):
    """A random fraction of the examples of chosen classes.

    Classes are numbered from 0 in the order of the param `classes` that every run has. Helps where it is known which
    classes decide. Costs no trained model.
    """

    name = "classes"
    summary = "the classes with these numbers, joined with + (0+3+5); validates on those classes"
    family = "Class Subsets"
    source = "after Shleifer & Prokop 2019, section 3.2 (Half Classes)"

    chosen: str = setting(dataclasses.MISSING, ClassList(), "numbers of the classes", symbol=LIST)
    fraction: float = setting(1.0, FRACTION, "share of the examples of these classes")

    def _too_few(self, pool: ExamplePool) -> str:
        unknown, there = np.setdiff1d(self._kept(pool), pool.all_classes), pool.all_classes
        if not len(unknown):
            return ""
        named = f"{', '.join(map(str, unknown[:5]))}{', ...' if len(unknown) > 5 else ''}"
        return f"class {named} does not exist; there are {len(there)}, numbered {there.min()} to {there.max()}"

    def _kept(self, pool: ExamplePool) -> NDArray[np.int64]:
        return np.array([int(number) for number in self.chosen.split("+")])
