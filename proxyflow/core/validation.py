"""Validates JSON from untrusted sources by declared rules.

The rules compose with those of `settings`. Entries without a rule are dropped, because later versions may add some.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyflow.core.errors import UNPRINTABLE, InvalidValue, printable, shortened
from proxyflow.core.settings import Number, Rule

# Parsed JSON takes tens of times the memory of its text.
LARGEST_JSON = 8 * 2**20
MISSING = "(missing)"
SHA256 = re.compile(r"[0-9a-f]{64}")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        OSError: the file does not exist.
        ValueError: it is too large, nested too deeply, or not JSON.
    """
    with path.open("rb") as file:
        text = file.read(LARGEST_JSON + 1)
    if len(text) > LARGEST_JSON:
        raise ValueError(f"it is larger than {LARGEST_JSON // 2**20} MiB")
    try:
        return json.loads(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@dataclass(frozen=True)
class Text:
    """One line of text without control characters.

    Args:
        longest: maximum length.
        pattern: pattern of the whole text.
        like: description of the pattern.
    """

    longest: int = 1000
    pattern: re.Pattern[str] | None = None
    like: str = ""

    @property
    def accepted(self) -> str:
        return self.like or f"text of at most {self.longest} characters, none of them a control character"

    def parse(self, name: str, value: object) -> str:
        if (
            not isinstance(value, str)
            or len(value) > self.longest
            or UNPRINTABLE.search(value)
            or (self.pattern is not None and not self.pattern.fullmatch(value))
        ):
            raise _error(name, value, self)
        return value


@dataclass(frozen=True)
class Numeric(Number):
    """A JSON number; `Number` also accepts text, as from the command line."""

    def parse(self, name: str, value: object) -> float | int:
        if not isinstance(value, (int, float)):
            raise _error(name, value, self)
        return super().parse(name, value)


@dataclass(frozen=True)
class Nullable:
    """Another rule, or null."""

    rule: Rule

    @property
    def accepted(self) -> str:
        return f"null, or {self.rule.accepted}"

    def parse(self, name: str, value: object) -> Any:
        return None if value is None else self.rule.parse(name, value)


@dataclass(frozen=True)
class Items:
    """A list with one rule for its items."""

    rule: Rule
    fewest: int = 0
    most: int = 1_000_000

    @property
    def accepted(self) -> str:
        return f"a list of {self.fewest} to {self.most:,} items, each {self.rule.accepted}"

    def parse(self, name: str, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not self.fewest <= len(value) <= self.most:
            raise _error(name, value, self)
        return tuple(self.rule.parse(f"{name}[{place}]", item) for place, item in enumerate(value))


@dataclass(frozen=True)
class Pair:
    """A list of two items, each with its own rule."""

    first: Rule
    second: Rule

    @property
    def accepted(self) -> str:
        return f"a list of {self.first.accepted} and {self.second.accepted}"

    def parse(self, name: str, value: object) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise _error(name, value, self)
        return self.first.parse(f"{name}[0]", value[0]), self.second.parse(f"{name}[1]", value[1])


@dataclass(frozen=True)
class Entries:
    """An object with one rule for its keys and one for its values."""

    keys: Rule
    values: Rule
    most: int = 1_000_000

    @property
    def accepted(self) -> str:
        return f"an object of at most {self.most:,} entries, each {self.values.accepted}"

    def parse(self, name: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > self.most:
            raise _error(name, value, self)
        keys = [self.keys.parse(f"a key of {name}", key) for key in value]
        return {key: self.values.parse(f"{name}.{key}", value[key]) for key in keys}


@dataclass(frozen=True)
class Fields:
    """An object with a rule per entry; entries in `optional` may be absent."""

    rules: Mapping[str, Rule]
    optional: frozenset[str] = frozenset()

    @property
    def accepted(self) -> str:
        return f"an object with {', '.join(self.rules)}"

    def parse(self, name: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _error(name, value, self)
        found = {}
        for key, rule in self.rules.items():
            place = f"{name}.{key}" if name else key
            if key in value:
                found[key] = rule.parse(place, value[key])
            elif key not in self.optional:
                raise _error(place, MISSING, rule)
        return found


def _error(name: str, value: object, rule: Rule) -> InvalidValue:
    text = value if isinstance(value, str) else json.dumps(value)
    return InvalidValue(shortened(printable(name)), text, f"it must be {rule.accepted}")


CHECKSUM = Text(pattern=SHA256, like="a SHA-256 in 64 hexadecimal digits")
