"""The rules of a program's settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Number
from proxyflow.trainers.program.command import EXAMPLE, parse_command

NONE = "none"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<number>[^a-z]+)(?P<unit>[smhd]?)")


@dataclass(frozen=True)
class CommandText:
    """A command; none, which is empty, where the trainer is not used."""

    accepted = f"a command such as {EXAMPLE}"

    def parse(self, name: str, value: object) -> str:
        text = str(value)
        return parse_command(text).text if text.strip() not in ("", NONE) else ""


@dataclass(frozen=True)
class Duration:
    """A time in seconds.

    Example:
        >>> Duration().parse("timeout", "1.5h")
        5400.0
    """

    accepted = "a time in seconds, or with a unit: 90s, 30m, 4h, 1d"

    def parse(self, name: str, value: object) -> float:
        match = _DURATION.fullmatch(str(value).strip().lower())
        try:
            number = Number(low=0, above=True).parse(name, match["number"].strip() if match else value)
        except InvalidValue:
            raise InvalidValue(name, value, f"it must be {self.accepted}") from None
        return number * UNITS[match["unit"] or "s"] if match else number
