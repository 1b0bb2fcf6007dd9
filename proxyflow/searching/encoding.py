"""Configurations as points, so that a model can tell which ones are alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.spaces.parameters import Categorical, Numeric, Parameter
from proxyflow.spaces.space import Space

Floats = NDArray[np.float64]
# Choices that are numbers are steps on a scale, of magnitudes where the largest is this many times the smallest.
MAGNITUDES = 8.0
NOT_IN_USE = 0.5  # where a conditional number stands in configurations that do not have it
# So that two different choices are as far apart as the ends of a range.
ONE_HOT = 1 / math.sqrt(2)


def encode(space: Space, configurations: Sequence[Mapping[str, Any]]) -> Floats:
    """Points of configurations: a column per number, from 0 to 1 over its range, and one per choice.

    Args:
        space: the space that they are from. Ranges without bounds are those of the configurations.
        configurations: all that are to be compared; of a parameter that has one value in all of them, nothing is told.

    Returns:
        `(configurations, columns)`.

    Example:
        >>> from proxyflow.spaces.parameters import Categorical, Float
        >>> space = Space((Float("rate", 1e-3, 1e-1, log=True), Categorical("width", choices=(16, 32, 64))))
        >>> encode(space, [{"rate": 0.01, "width": 16}, {"rate": 0.1, "width": 64}]).tolist()
        [[0.5, 0.0], [1.0, 1.0]]
    """
    columns: list[Floats] = []
    for parameter in space.parameters:
        values = [each.get(parameter.name) for each in configurations]
        if len({str(value) for value in values}) > 1:
            columns += _columns_of(parameter, values)
    return np.stack(columns, axis=1) if columns else np.zeros((len(configurations), 0))


def _columns_of(parameter: Parameter, values: Sequence[Any]) -> list[Floats]:
    known = np.array([value is not None for value in values])
    used = [] if known.all() else [np.where(known, ONE_HOT, 0.0)]
    if isinstance(parameter, Numeric):
        bounds = (parameter.low, parameter.high) if parameter.is_bounded else None
        return [_scaled(values, known, bounds, parameter.log), *used]
    assert isinstance(parameter, Categorical)
    numbers = [
        choice for choice in parameter.choices if isinstance(choice, (int, float)) and not isinstance(choice, bool)
    ]
    if len(numbers) == len(parameter.choices):
        low, high = min(numbers), max(numbers)
        return [_scaled(values, known, (low, high), low > 0 and high / low >= MAGNITUDES), *used]
    return [np.where([value == choice for value in values], ONE_HOT, 0.0) for choice in parameter.choices]


def _scaled(values: Sequence[Any], known: NDArray[np.bool_], bounds: tuple[float, float] | None, log: bool) -> Floats:
    numbers = np.array([float(value) if value is not None else math.nan for value in values])
    low, high = bounds or (float(numbers[known].min()), float(numbers[known].max()))
    # A range of a schema has no scale of its own.
    if log or (bounds is None and low > 0 and high / low >= MAGNITUDES):
        numbers, low, high = np.log(numbers), math.log(low), math.log(high)
    scaled = (numbers - low) / (high - low) if high > low else np.zeros(len(numbers))
    return np.where(known, scaled, NOT_IN_USE)
