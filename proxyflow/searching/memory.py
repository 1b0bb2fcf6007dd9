"""What earlier studies found, as rungs that cost nothing and may mislead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxyflow.spaces.space import Space

# How far an earlier study is expected to agree, before any training of this search: little, and with much doubt.
TRUST = 0.6


@dataclass(frozen=True, eq=False)
class Memory:
    """The values of another study, or of another data set.

    Attributes:
        name: what users call it.
        configurations: of the trainings; hyperparameters that the search does not have are ignored, and others that
            they lack are taken to be the default.
        values: the metric of each, a mean over seeds.
    """

    name: str
    configurations: tuple[Mapping[str, Any], ...]
    values: tuple[float, ...]

    def within(self, space: Space) -> tuple[Mapping[str, Any], ...]:
        """The configurations with the hyperparameters of a space, matched by name."""
        centre = space.centre
        return tuple({name: each.get(name, centre.get(name)) for name in space.names} for each in self.configurations)
