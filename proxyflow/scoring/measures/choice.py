"""Naming a measure: by its own name, or, where it is one of early models, as it was after a given epoch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxyflow.errors import InvalidValue
from proxyflow.scoring.measures.base import Measure, measures
from proxyflow.settings import Choice

AT_EPOCH = re.compile(r"(?P<name>\w+?)_epoch_(?P<epoch>[1-9][0-9]*)")


def at_epoch(name: str, epoch: int) -> str:
    """The column of an early measure after an epoch: `el2n_epoch_5`."""
    return f"{name}_epoch_{epoch}"


def measure_of(column: str) -> Measure | None:
    """The measure that a column of a score table holds, None where it is not a measure's."""
    match = AT_EPOCH.fullmatch(column)
    name = match["name"] if match else column
    if name not in measures or (match and measures[name].needs != "early"):
        return None
    return measures[name]


@dataclass(frozen=True)
class MeasureName(Choice):
    """A registered measure, or an early one at an epoch."""

    @property
    def accepted(self) -> str:
        early = [at_epoch(name, 5) for name, measure in measures.items() if measure.needs == "early"]
        return f"{super().accepted}, or one of an epoch such as {' or '.join(early)}"

    def parse(self, name: str, value: object) -> str:
        if measure_of(str(value)) is None:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        return str(value)
