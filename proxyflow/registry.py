"""One registry per kind of plug-in: the only list of names that exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from proxyflow.errors import UnknownName

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Names to plug-ins of one kind, in the order in which they were registered.

    Args:
        kind: what the user calls such a plug-in; it begins the error of an unknown name.

    Example:
        >>> colours = Registry[str]("colour")
        >>> colours.add("red", "#f00")
        '#f00'
        >>> list(colours)
        ['red']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Registers `item`; a name that is taken is a programming error found at import."""
        if name in self._items:
            raise ValueError(f"the {self.kind} {name!r} is registered twice")
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator form of `add`."""
        return lambda item: self.add(name, item)

    def __getitem__(self, name: str) -> T:
        try:
            return self._items[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._items) from None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
