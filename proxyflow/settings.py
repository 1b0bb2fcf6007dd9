"""Settings of frozen dataclasses that carry their own rule, so that the command line, YAML files,
error messages and documentation all read one declaration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from proxyflow.errors import InvalidValue, UnknownName


class Rule(Protocol):
    """What values a setting takes."""

    @property
    def accepted(self) -> str:
        """The accepted values in words."""
        ...

    def parse(self, name: str, value: object) -> Any:
        """The value in its proper type, or `InvalidValue`."""
        ...


@dataclass(frozen=True)
class Choice:
    """One of a few names."""

    values: tuple[str, ...]

    @property
    def accepted(self) -> str:
        return "one of " + ", ".join(self.values)

    def parse(self, name: str, value: object) -> str:
        if str(value) not in self.values:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        return str(value)


@dataclass(frozen=True)
class Number:
    """A finite number in a range; `whole` ones are integers.

    Args:
        low, high: the bounds, included unless `above` / `below` says otherwise.
        above: the low bound itself is not accepted.
        below: the high bound itself is not accepted.
        example: a typical value, named in the message of a refusal.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    example: str = ""

    @property
    def accepted(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        bounds = []
        if self.low > -math.inf:
            bounds.append(f"{'above' if self.above else 'of at least'} {self.low:.12g}")
        if self.high < math.inf:
            bounds.append(f"{'below' if self.below else 'at most'} {self.high:.12g}")
        text = " ".join([kind, " and ".join(bounds)]) if bounds else kind
        return f"{text} (for example {self.example})" if self.example else text

    def parse(self, name: str, value: object) -> float | int:
        refusal = InvalidValue(name, value, f"it must be {self.accepted}")
        if isinstance(value, bool):
            raise refusal
        try:
            # Python reads 1_0 as 10, which nobody means here; adding 0 makes -0 the 0 that it equals.
            number = float(value) + 0.0 if "_" not in str(value) else math.nan  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise refusal from None
        inside = math.isfinite(number) and self.low <= number <= self.high
        on_open_bound = (self.above and number == self.low) or (self.below and number == self.high)
        if not inside or on_open_bound or (self.whole and number != int(number)):
            raise refusal
        return int(number) if self.whole else number


@dataclass(frozen=True)
class TrueFalse:
    """A switch, written out because `mlflow run` passes every parameter as text."""

    accepted = "true or false"

    def parse(self, name: str, value: object) -> bool:
        words = {"true": True, "false": False}
        if str(value).lower() not in words:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        return words[str(value).lower()]


@dataclass(frozen=True)
class OptionalValue:
    """Another rule, or the word that stands for having no value."""

    rule: Rule
    word: str

    @property
    def accepted(self) -> str:
        return f"{self.word}, or {self.rule.accepted}"

    def parse(self, name: str, value: object) -> Any:
        if value is None or str(value) in ("", self.word):
            return None
        try:
            return self.rule.parse(name, value)
        except InvalidValue:
            raise InvalidValue(name, value, f"it must be {self.accepted}") from None


def setting(default: Any, rule: Rule, help: str, **extra: Any) -> Any:
    """A dataclass field with its rule and meaning; `extra` goes into the field's metadata."""
    metadata = {"rule": rule, "help": help, **extra}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(owner: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass that were declared with `setting`, in order."""
    return [field for field in dataclasses.fields(owner) if "rule" in field.metadata]


def normalise(instance: Any) -> None:
    """Checks every setting of a new frozen instance and puts it into its proper type.

    Raises:
        InvalidValue: a value breaks its setting's rule.
    """
    for field in settings_of(instance):
        value = field.metadata["rule"].parse(field.name, getattr(instance, field.name))
        object.__setattr__(instance, field.name, value)


def check_keys(what: str, keys: Iterable[object], known: Iterable[str]) -> None:
    """Refuses keys that are not among `known`, with a message that lists those that are."""
    names = list(known)
    for key in keys:
        if key not in names:
            raise UnknownName(what, key, names)
