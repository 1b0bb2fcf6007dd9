"""What a search chooses from: a space as people write one, and the configurations that are drawn from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyflow.core.errors import InvalidValue
from proxyflow.spaces.grids import Grid, grid_of
from proxyflow.spaces.space import Space
from proxyflow.spaces.space_file import read_yaml

CANDIDATES = 256  # that are drawn from a space with ranges


@dataclass(frozen=True)
class Candidates:
    """What a search chooses from.

    Attributes:
        space: the space.
        grid: the configurations that it begins with, the default first.
        is_drawn: whether they are a sample of a space with more.
    """

    space: Space
    grid: Grid
    is_drawn: bool = False


def candidates_of(space: Any, most: int, seed: int, schema: Space | None = None) -> Candidates:
    """The space of a search, and the configurations that it begins with.

    Args:
        space: Ranges and values by hyperparameter, a list of configurations, or the path of a YAML file with either.
        most: How many to draw from a space with ranges.
        seed: Of the draw.
        schema: The trainer's space; None where it takes anything.

    Raises:
        InvalidValue: It is of another form, or there is nothing to choose from.

    Example:
        >>> found = candidates_of({"lr": {"low": 1e-4, "high": 0.1, "log": True}, "width": [16, 32]}, 3, 0)
        >>> [each.name for each in found.grid], found.is_drawn
        (['lr=0.003162,width=32', 'lr=0.09935,width=32', 'lr=0.0002741,width=16'], True)
    """
    origin = str(space) if isinstance(space, (str, Path)) else "space"
    content = read_yaml("space", origin) if isinstance(space, (str, Path)) else space
    if isinstance(content, Mapping) and "configurations" not in content:
        drawn_from = Space.of({name: _plain(value) for name, value in content.items()}, origin, schema)
        # One more than are asked for tells whether there are more.
        found = drawn_from.candidates(most + 1, seed)
        chosen = Candidates(drawn_from, drawn_from.candidates(most, seed), len(found) > most)
    else:
        listed = isinstance(content, Iterable) and not isinstance(content, str | Mapping)
        entries = [dict(each) if isinstance(each, Mapping) else each for each in content] if listed else content
        grid = grid_of(entries, origin, schema)
        chosen = Candidates(grid[0].space, grid)
    if len(chosen.grid) < 2:
        given = origin if isinstance(space, (str, Path)) else chosen.grid[0].name
        rule = "it has one configuration only: give a range, or a list of several values"
        raise InvalidValue("space", given, rule)
    return chosen


def _plain(value: Any) -> Any:
    """Lists and numbers of numpy as those of Python; a set in an order that is the same in every process."""
    if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
        return value
    values = [each.item() if hasattr(each, "item") else each for each in value]
    return sorted(values, key=str) if isinstance(value, set | frozenset) else values
