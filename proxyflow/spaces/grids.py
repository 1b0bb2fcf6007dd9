"""Grids: which configurations a study compares, by name, from a YAML file, or drawn from a space."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.settings import Number, check_keys
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.parameters import located
from proxyflow.spaces.space import MOST_DRAWS, Space
from proxyflow.spaces.space_file import read_yaml

Grid = tuple[Configuration, ...]

_FILE = re.compile(r"(?P<path>.+\.ya?ml)(?:@(?P<draws>[^@/]*))?", re.IGNORECASE | re.DOTALL)
_DRAWS = re.compile(r"(?P<n>\d+)(?:,seed=(?P<seed>\d+))?")


def is_grid_file(text: str) -> bool:
    """Whether a grid's text names a file, `PATH.yaml` or `PATH.yaml@N`, and no grid by its name."""
    return _FILE.fullmatch(text) is not None


def load_grid(text: str, space: Space | None, named: Mapping[str, Callable[[], Grid]]) -> Grid:
    """A grid by name, from a YAML file, or drawn from the space in one.

    Args:
        text: a name; `GRID.yaml`, see `grid_of`; or `SPACE.yaml@36`, 36 configurations that fill the space in that
            file evenly, drawn with seed 0 or that of `SPACE.yaml@36,seed=1`.
        space: the trainer's; none where it takes anything.
        named: the trainer's grids.

    Raises:
        UserError: no such grid or file, or an entry that breaks a rule; the message names the entry.
    """
    if text in named:
        return named[text]()
    file = _FILE.fullmatch(text)
    if file is None:
        known = f"one of {', '.join(named)}, or " if named else ""
        rule = f"it must be {known}the path of a .yaml file (of a space with how many to draw: space.yaml@36)"
        raise InvalidValue("grid", text, rule)
    if file["draws"] is None:
        return grid_of(read_yaml("grid", text), text, space)
    draws = _DRAWS.fullmatch(file["draws"])
    if draws is None:
        raise InvalidValue("grid", text, "after @ comes a number of configurations, as in space.yaml@36,seed=1")
    n = Number(low=1, high=MOST_DRAWS, whole=True).parse("configurations", draws["n"])
    drawn_from = Space.of(read_yaml("grid", file["path"]), file["path"], space)
    with located(text):
        return drawn_from.sample(int(n), int(draws["seed"] or 0))


def grid_of(content: Any, origin: str, space: Space | None) -> Grid:
    """The grid that a YAML file's content describes; `origin` names it in errors.

    The content is a list of configurations, each a mapping of the hyperparameters that differ from the default (`{}`
    is the default); a mapping with `configurations` and, under `base`, values common to all; or a mapping of
    hyperparameters to lists of values, of which all combinations are meant. Without a space, every configuration gives
    what base does not, and names have every value.

    Raises:
        UserError: another form, an entry that breaks a rule, or a configuration a second time.

    Example:
        >>> grid = grid_of({"base": {"lr": 0.1}, "configurations": [{}, {"lr": 0.2}]}, "grid.yaml", None)
        >>> [configuration.name for configuration in grid]
        ['lr=0.1', 'lr=0.2']
    """
    base: Any = {}
    if isinstance(content, dict) and not {"configurations", "base"} & content.keys():
        content = _combinations(content, origin)
    if isinstance(content, dict):
        check_keys(f"{origin}: key", content, ("base", "configurations"))
        base, content = content.get("base") or {}, content.get("configurations")
    if not isinstance(base, dict) or not isinstance(content, list) or not content:
        raise UserError(
            f"{origin}: a grid is a list of configurations such as '- learning_rate: 0.01', or a mapping with "
            "'configurations' and 'base'"
        )
    entries = [{} if changes is None else changes for changes in content]
    for number, changes in enumerate(entries, start=1):
        if not isinstance(changes, dict):
            where = f"{origin}: configuration {number}"
            raise UserError(f"{where} is {changes!r}; it must be a mapping of hyperparameters, {{}} for the default")
    if space is None:
        with located(origin):
            space = Space.around(entries, base)
    found: dict[Configuration, None] = {}
    for number, changes in enumerate(entries, start=1):
        where = f"{origin}: configuration {number}"
        with located(where):
            configuration = space.configuration(changes, base)
        if configuration in found:
            raise UserError(f"{where} is {configuration.name} a second time; name each configuration once")
        found[configuration] = None
    return tuple(found)


def _combinations(content: Mapping[Any, Any], origin: str) -> list[dict[Any, Any]]:
    """All combinations of the values that a mapping lists."""
    spaces = [name for name, values in content.items() if isinstance(values, Mapping)]
    if spaces or not content:
        what = f"{spaces[0]} is a range" if spaces else "it is empty"
        rule = (
            f"{what}; a grid lists values ({{lr: [0.01, 0.1]}}) or configurations; from a space with ranges it takes "
        )
        raise InvalidValue(origin, dict(content), rule + "a number of draws: put it into a file and give space.yaml@36")
    lists = [list(values) if isinstance(values, list | tuple) else [values] for values in content.values()]
    return [dict(zip(content, values, strict=True)) for values in itertools.product(*lists)]
