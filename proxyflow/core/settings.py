"""Settings: dataclass fields with a validation rule and help text, shared by command line, YAML files and messages."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from proxyflow.core.errors import InvalidValue, UnknownName


class Rule(Protocol):
    """A validation rule of a setting."""

    @property
    def accepted(self) -> str:
        """Description of the accepted values."""
        ...

    def parse(self, name: str, value: object) -> Any:
        """Converts a value to its type.

        Raises:
            InvalidValue: the value is not accepted.
        """
        ...


@dataclass(frozen=True)
class Choice:
    """One of several names; with a registry, its names, including plug-ins."""

    values: Collection[str]

    @property
    def accepted(self) -> str:
        return "one of " + ", ".join(self.values)

    def parse(self, name: str, value: object) -> str:
        if str(value) not in self.values:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        return str(value)


@dataclass(frozen=True)
class Number:
    """A finite number in a range.

    Args:
        low, high: inclusive bounds.
        above: makes the lower bound exclusive.
        below: makes the upper bound exclusive.
        whole: accepts integers only.
        example: a typical value, for error messages.
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
        error = InvalidValue(name, value, f"it must be {self.accepted}")
        if isinstance(value, bool):
            raise error
        try:
            # Rejects 1_0, which Python reads as 10; adding 0 turns -0 into 0.
            number = float(value) + 0.0 if "_" not in str(value) else math.nan  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise error from None
        inside = math.isfinite(number) and self.low <= number <= self.high
        on_open_bound = (self.above and number == self.low) or (self.below and number == self.high)
        if not inside or on_open_bound or (self.whole and number != int(number)):
            raise error
        if not self.whole:
            return number
        try:
            return int(value) if isinstance(value, int | str) else int(number)  # a float has 53 bits
        except ValueError:  # 5.0 as text
            return int(number)


@dataclass(frozen=True)
class TrueFalse:
    """A Boolean as the word true or false, because `mlflow run` passes all parameters as text."""

    accepted = "true or false"

    def parse(self, name: str, value: object) -> bool:
        words = {"true": True, "false": False}
        if str(value).lower() not in words:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        return words[str(value).lower()]


@dataclass(frozen=True)
class OptionalValue:
    """Another rule, or a word for None (`auto`, `none`)."""

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
    """A dataclass field with a rule and help text; `extra` is added to the field's metadata."""
    metadata = {"rule": rule, "help": help, **extra}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(owner: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass that are declared with `setting`, in order."""
    return [field for field in dataclasses.fields(owner) if "rule" in field.metadata]


def validate_settings(instance: Any) -> None:
    """Validates the settings of a frozen dataclass and converts their types; call it in `__post_init__`.

    Raises:
        InvalidValue: a value is not accepted.
    """
    for field in settings_of(instance):
        value = field.metadata["rule"].parse(field.name, getattr(instance, field.name))
        object.__setattr__(instance, field.name, value)


def check_keys(what: str, keys: Iterable[object], known: Iterable[str]) -> None:
    """Checks that all keys are known.

    Raises:
        UnknownName: a key is not; the message lists the known ones.
    """
    names = list(known)
    for key in keys:
        if key not in names:
            raise UnknownName(what, key, names)
