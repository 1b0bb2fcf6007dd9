"""The modules that a user's script imports, found by reading the sources without running any of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MOST_FILES = 10_000  # whose imports are remembered


@dataclass(frozen=True)
class Imported:
    """A module that a source may import: `from ..parts import head` has level 2 and the name `parts.head`."""

    level: int
    name: str


def stamp_of(path: Path) -> tuple[int, int]:
    """Changes where a file is written; so a file is read again only then."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def files_of_module(module: str, places: Sequence[Path]) -> list[Path]:
    """The files of a module and of the packages that it is in, as Python finds them; empty if no place has it.

    Args:
        module: its full name.
        places: folders to search in order. A folder without `__init__.py` is a package as well.
    """
    *packages, last = module.split(".")
    if not all(part.isidentifier() for part in (*packages, last)):
        return []
    for place in places:
        found: list[Path] = []
        folder = place
        for package in packages:
            folder = folder / package
            found += _existing(folder / "__init__.py")
        own = _existing(folder / last / "__init__.py") or _existing(folder / f"{last}.py")
        if own:
            return [*found, *own]
    return []


def imported_files(source: Path, module: str, places: Sequence[Path]) -> list[Path]:
    """All files that a source imports, directly or not, as far as they are below `places`.

    Args:
        source: a file of Python; what it imports is unknown if it is no valid Python.
        module: its full name, which relative imports start from; empty for a script.
        places: where Python looks for modules, in order.
    """
    found: dict[Path, None] = {}
    waiting = [(source, module)]
    while waiting:
        path, name = waiting.pop()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for each in _imports_of(path):
            full = _absolute(each, package)
            for file in files_of_module(full, places) if full else ():
                if file not in found and file != source:
                    found[file] = None
                    waiting.append((file, module_name(file, places)))
    return sorted(found)


def _existing(path: Path) -> list[Path]:
    with suppress(OSError, ValueError):
        if path.is_file():
            return [path]
    return []


def _imports_of(path: Path) -> tuple[Imported, ...]:
    try:
        return _parsed(path, stamp_of(path))
    except OSError:
        return ()


@lru_cache(maxsize=MOST_FILES)
def _parsed(path: Path, stamp: tuple[int, int]) -> tuple[Imported, ...]:
    try:
        return tuple(dict.fromkeys(_imports(ast.parse(path.read_bytes()))))
    except (SyntaxError, ValueError, RecursionError):  # the program itself will say so
        return ()


def _imports(tree: ast.Module) -> Iterator[Imported]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Imported(0, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if base:
                yield Imported(node.level, base)
            # What is imported from a package may be a module of it.
            for each in node.names:
                yield Imported(node.level, ".".join(filter(None, (base, "" if each.name == "*" else each.name))))


def _absolute(each: Imported, package: str) -> str:
    """The full name of an imported module; empty if it is outside of all packages."""
    if not each.level:
        return each.name
    parts = package.split(".") if package else []
    if len(parts) < each.level:
        return ""
    return ".".join(filter(None, (*parts[: len(parts) - each.level + 1], each.name)))


def module_name(path: Path, places: Sequence[Path]) -> str:
    """The full name of the module in a file below one of `places`."""
    place = next(place for place in places if path.is_relative_to(place))
    parts = path.relative_to(place).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
