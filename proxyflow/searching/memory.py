"""What earlier studies found, as rungs that cost nothing and may mislead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxyflow.spaces.parameters import Categorical, Numeric, Parameter
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

    def within(self, space: Space) -> Memory:
        """The memory with the hyperparameters of a space, matched by name.

        Numbers beyond a range are taken to be at its end; configurations with other values that the space does not
        have are left out.
        """
        pairs = zip(self.configurations, self.values, strict=True)
        found = [(values, value) for each, value in pairs if (values := _within(each, space)) is not None]
        return replace(self, configurations=tuple(c for c, _ in found), values=tuple(v for _, v in found))


def _within(configuration: Mapping[str, Any], space: Space) -> dict[str, Any] | None:
    centre, found = space.centre, dict[str, Any]()
    for parameter in space.parents_first:
        if not parameter.is_active(found):
            continue
        name = parameter.name
        default = centre[name] if name in centre else parameter.from_unit(0.5)
        value = _nearest(parameter, configuration[name]) if name in configuration else default
        if value is None:
            return None
        found[name] = value
    return found


def _nearest(parameter: Parameter, value: Any) -> Any:
    """The value as the parameter takes it; None where it is none."""
    if parameter.accepts(value):
        return parameter.parse(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number:
        return None
    choices = [each for each in parameter.values()] if isinstance(parameter, Categorical) else []
    numbers = [each for each in choices if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if isinstance(parameter, Numeric) and parameter.is_bounded:
        return min(max(value, parameter.low), parameter.high)
    return min(max(value, min(numbers)), max(numbers)) if numbers and len(numbers) == len(choices) else None
