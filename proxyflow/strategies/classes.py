"""Classes that the user names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.errors import InvalidValue, UserError
from proxyflow.settings import setting
from proxyflow.strategies.base import FRACTION, Pool, register
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


@register
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

    chosen: str = setting(dataclasses.MISSING, ClassList(), "numbers of the classes", symbol="LIST")
    fraction: float = setting(1.0, FRACTION, "share of the examples of these classes")

    def _kept(self, pool: Pool) -> NDArray[np.int64]:
        wanted = np.array([int(number) for number in self.chosen.split("+")])
        unknown = np.setdiff1d(wanted, pool.all_classes)
        if len(unknown):
            raise UserError(
                f"strategy {self.canonical}: class {', '.join(map(str, unknown))} does not exist; there are "
                f"{len(pool.all_classes)}, numbered {pool.all_classes.min()} to {pool.all_classes.max()}"
            )
        return wanted
