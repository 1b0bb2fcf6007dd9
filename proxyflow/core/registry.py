"""Registries of plug-ins: the names of each kind, built in or from installed packages."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from proxyflow.core.errors import InvalidValue, UnknownName, one_line, printable

T = TypeVar("T")
PREFIX = "proxyflow."  # of the groups of all registries
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Registry(Mapping[str, T], Generic[T]):
    """Maps names to plug-ins of one kind: built-in ones in order of registration, then those of packages by name.

    Packages provide plug-ins as entry points (https://packaging.python.org/specifications/entry-points) with the
    plug-in's name and the object that a built-in plug-in registers. An entry point is imported when it is looked up or
    listed. Plug-ins that cannot be used are left out with a warning on stderr.

    Args:
        kind: the user's word for such a plug-in, for error messages.
        group: entry point group; empty if packages cannot provide plug-ins of this kind.
        problem_of: returns what is wrong with a package's item of this name; empty if nothing is.

    Example:
        >>> colours = Registry[str]("colour")
        >>> colours.add("red", "#f00")
        '#f00'
        >>> list(colours)
        ['red']
    """

    def __init__(self, kind: str, group: str = "", problem_of: Callable[[str, Any], str] | None = None) -> None:
        self.kind, self.group = kind, group
        self._problem_of = problem_of or (lambda name, item: "")
        self._items: dict[str, T] = {}
        self._problems: dict[str, str] = {}

    def add(self, name: str, item: T) -> T:
        """Registers a built-in item.

        Raises:
            ValueError: the name is already registered.
        """
        if name in self._items:
            raise ValueError(f"the {self.kind} {name!r} is registered twice")
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""
        return lambda item: self.add(name, item)

    def origin(self, name: str) -> str:
        """Package and version that provide a plug-in; empty for a built-in one."""
        return _package(self._entry_points[name]) if name in self._entry_points else ""

    def __getitem__(self, name: str) -> T:
        """The item of that name.

        Raises:
            UnknownName: there is no such name.
            InvalidValue: an installed package provides the plug-in, but it cannot be used; the message says why.
        """
        if name in self._entry_points:
            self._load(name)
        if name in self._problems:
            raise InvalidValue(self.kind, name, self._problems[name])
        if name not in self._items:
            raise UnknownName(self.kind, name, self)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        """Whether the name is known, including plug-ins that cannot be used."""
        return name in self._items or name in self._entry_points

    def __iter__(self) -> Iterator[str]:
        for name in self._entry_points:
            self._load(name)
        return iter(tuple(self._items))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        """Entry points of installed packages by name, without name conflicts."""
        found: dict[str, EntryPoint] = {}
        for entry_point in sorted(_installed().select(group=self.group) if self.group else (), key=_package):
            name = entry_point.name
            if name in self._items:
                self._leave_out(entry_point, f"the {self.kind} {name} is built in; give the entry point another name")
            elif name in found:
                both = f"{_package(found[name])} and {_package(entry_point)}"
                self._problems[name] = self._leave_out(entry_point, f"{both} both provide it; uninstall one of them")
            else:
                found[name] = entry_point
        return dict(sorted(found.items()))

    def _load(self, name: str) -> None:
        """Imports a package's plug-in once, and records why it cannot be used."""
        if name in self._items or name in self._problems:
            return
        entry_point, problem = self._entry_points[name], ""
        if not NAME.fullmatch(name):
            problem = "a name consists of letters, digits, - and _"
        else:
            try:
                item = entry_point.load()
                problem = self._problem_of(name, item)
            except Exception as error:  # code of other packages may raise anything
                problem = f"{type(error).__name__}: {one_line(error)}"
        if problem:
            self._problems[name] = self._leave_out(entry_point, problem)
        else:
            self._items[name] = item

    def _leave_out(self, entry_point: EntryPoint, problem: str) -> str:
        """Warns about a plug-in that cannot be used; returns the reason."""
        source = f"entry point {entry_point.name} = {entry_point.value}"
        text = printable(f"{_package(entry_point)} provides it ({source}), but it cannot be used: {problem}")
        print(f"warning: {self.kind}={printable(entry_point.name)} is left out: {text}", file=sys.stderr)
        return text


def missing_member(item: object, members: Mapping[str, Any]) -> str:
    """The first member of an object that is missing or has another type, as a sentence; empty if there is none."""
    if isinstance(item, type):
        return f"{item.__name__} is a class; provide an instance of it"
    wrong = [name for name, kind in members.items() if not isinstance(getattr(item, name, None), kind)]
    return f"its {wrong[0]} is missing, or not a {members[wrong[0]].__name__}" if wrong else ""


def class_problem(name: str, item: object, base: type, texts: Sequence[str]) -> str:
    """Why an item cannot be a plug-in that is a class, as a sentence; empty if it can.

    Args:
        name: of the entry point.
        base: what it must be a subclass of.
        texts: attributes that must be text; `name` is that of the entry point.
    """
    if not (isinstance(item, type) and issubclass(item, base)):
        return f"it is no subclass of {base.__module__.rpartition('.')[0]}.{base.__name__}"
    missing = [each for each in texts if not isinstance(getattr(item, each, None), str)]
    if missing:
        return f"{item.__name__} has no {missing[0]}"
    if inspect.isabstract(item):
        return f"{item.__name__} does not define {', '.join(sorted(getattr(item, '__abstractmethods__', ())))}"
    own = getattr(item, "name", "")
    return "" if own == name else f"{item.__name__} has the name {own}, and not that of the entry point"


def installed_plugins() -> list[tuple[str, str]]:
    """What other packages offer, without importing any: the kind and name of each, and its package."""
    found = _installed()
    ours = sorted(group for group in found.groups if group.startswith(PREFIX))
    offered = [entry_point for group in ours for entry_point in sorted(found.select(group=group))]
    return [(printable(f"{each.group.removeprefix(PREFIX)} {each.name}"), _package(each)) for each in offered]


@cache
def _installed() -> Any:
    """Entry points of all installed packages, read once; the type differs before Python 3.12."""
    return entry_points()


def _package(entry_point: EntryPoint) -> str:
    dist = entry_point.dist
    return f"package {dist.name} {dist.version}" if dist is not None else "an unnamed package"
