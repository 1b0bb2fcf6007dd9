"""Hyperparameters as values: each knows its values, its default, its place in names, and where it is in use."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, Rule

# Names are params of a tracking store, placeholders of a command and parts of configuration names.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_LONGEST_NAME = 100
# Params that every training logs beside its hyperparameters.
_OF_TRAININGS = ("config", "dataset", "device", "epochs", "seed", "strategy", "trainer")
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # 1e-4, which YAML 1.1 reads as text
_PLAIN_TEXT = re.compile(r"[\w./:@%+-]+")
_LINEAR_STEPS = 2**16  # as many different values of a continuous parameter are listed at most


@contextmanager
def located(where: str) -> Iterator[None]:
    """Puts `where` before the name of a value that the block refuses: a file, an entry of it."""
    try:
        yield
    except InvalidValue as error:
        error.args = (f"{where}: {error}",)
        error.name = f"{where}: {error.name}"
        raise


def plain(value: object) -> Any:
    """A value as files and commands give it; text such as 1e-4 is the number that it is in every language but YAML."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def text_of(value: object) -> str:
    """A value in the name of a configuration: 12 digits of a number, more where they differ; odd text in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:.12g}"
        return short if float(short) == value else repr(value)
    text = str(value)
    # Quotes keep a comma or an equals sign in a value from looking like the next difference.
    return text if not isinstance(value, str) or _PLAIN_TEXT.fullmatch(text) else repr(text)


def conditions_of(name: str, when: object) -> dict[str, tuple[Any, ...]]:
    """The conditions under which parameter `name` is in use, as `Parameter.when` has them; a value may stand alone.

    Raises:
        InvalidValue: `when` is no mapping, or a list in it is empty.
    """
    if not isinstance(when, Mapping):
        raise InvalidValue(f"{name}.when", when, "it must be a mapping such as {optimizer: [sgd, rmsprop]}")
    lists = {parent: values if isinstance(values, list | tuple) else [values] for parent, values in when.items()}
    for parent, values in lists.items():
        if not values:
            raise InvalidValue(f"{name}.when", parent, "name at least one of its values")
    return {parent: tuple(map(plain, values)) for parent, values in lists.items()}


@dataclass(frozen=True)
class Parameter(ABC):
    """One hyperparameter.

    Attributes:
        name: the key in configurations.
        help: what it is, in a few words.
        default: the value where none is given; `None` where it has no default.
        label: the name in configuration names; parameters with one label are written together (`stem=4-32`).
        group: the group of configurations that change this parameter; empty for `other`.
        when: other parameters and values of theirs. The parameter is in use only in configurations that have one of
            the values of each.
        silent: `Configuration.to_json` leaves the default out: a hyperparameter that came later and does nothing there,
            so that configurations from before are the same.

    Raises:
        InvalidValue: a part of the declaration breaks its rule; `.name` is as `learning_rate.low`.
    """

    name: str
    _: dataclasses.KW_ONLY
    help: str = ""
    default: Any = None
    label: str = ""
    group: str = ""
    silent: bool = False
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_name("hyperparameter", self.name)
        if self.name in _OF_TRAININGS:
            raise InvalidValue("hyperparameter", self.name, "every training has a param of this name; choose another")
        for key in ("label", "group"):
            if getattr(self, key):
                _check_name(f"{self.name}.{key}", getattr(self, key))
        default = self.default
        self._set(label=self.label or self.name, when=conditions_of(self.name, self.when), default=None)
        self._check()
        if default is not None:
            try:
                self._set(default=self.parse(default))
            except InvalidValue as error:
                raise InvalidValue(f"{self.name}.default", default, error.rule) from None

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter is in use in a configuration whose values so far include those of its conditions."""
        return all(parent in values and values[parent] in allowed for parent, allowed in self.when.items())

    @property
    def condition(self) -> str:
        """Where the parameter is in use, in words; empty for everywhere."""
        return " and ".join(f"{name} is {' or '.join(map(text_of, allowed))}" for name, allowed in self.when.items())

    @property
    def is_fixed(self) -> bool:
        """Whether there is one value only, so that nothing can be tuned."""
        return False

    @property
    def is_discrete(self) -> bool:
        """Whether single values can be named in a condition, as they occur again."""
        return True

    @property
    def is_bounded(self) -> bool:
        """Whether values can be drawn; a trainer may declare parameters without bounds."""
        return True

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """What values it takes, conditions left out; options of commands are made from it."""

    @property
    @abstractmethod
    def accepted(self) -> str:
        """The accepted values in words."""

    @abstractmethod
    def parse(self, value: object) -> Any:
        """The value in its proper type.

        Raises:
            InvalidValue: it is not accepted; `.name` is the parameter's name.
        """

    def accepts(self, value: object) -> bool:
        """Whether `parse` takes the value."""
        try:
            self.parse(value)
        except InvalidValue:
            return False
        return True

    @abstractmethod
    def from_unit(self, u: float) -> Any:
        """The value at `u` in [0, 1): equal parts of the unit interval stand for equally likely values."""

    @abstractmethod
    def to_unit(self, value: Any) -> float:
        """A place in [0, 1] at which `from_unit` has the value; the parameter must be bounded."""

    @abstractmethod
    def values(self) -> Iterator[Any]:
        """The different values that `from_unit` gives, each once; up to 65,536 of a continuous parameter."""

    @abstractmethod
    def _check(self) -> None:
        """Checks what the kind adds to a declaration, and brings it into its proper type."""


@dataclass(frozen=True)
class Numeric(Parameter):
    """A number.

    Attributes:
        low, high: the bounds, included unless `above` / `below` says otherwise; infinite ones only check.
        log: values are spread evenly over magnitudes.
        step: the distance between values, counted from `low`.
        above: the low bound itself is not accepted; the parameter cannot be drawn then.
        below: the high bound itself is not accepted; the parameter cannot be drawn then.
    """

    low: float = -math.inf
    high: float = math.inf
    log: bool = False
    step: float | None = None
    above: bool = field(default=False, kw_only=True)
    below: bool = field(default=False, kw_only=True)
    whole: ClassVar[bool] = False

    def _check(self) -> None:
        for key in ("low", "high"):
            bound = getattr(self, key)
            if not (isinstance(bound, float) and math.isinf(bound)):
                self._set(**{key: Number(whole=self.whole).parse(f"{self.name}.{key}", bound)})
        if not self.low < self.high:
            raise InvalidValue(f"{self.name}.high", self.high, f"it must be above low, which is {self.low:.12g}")
        if self.log and self.low <= 0 and self.is_bounded:
            raise InvalidValue(f"{self.name}.low", self.low, "it must be above 0 where log is true")
        if self.step is not None:
            if self.log:
                raise InvalidValue(f"{self.name}.step", self.step, "log and step exclude each other: leave one out")
            span = (self.high - self.low) * (1 + 1e-9)
            rule = Number(low=0, high=span, above=True, whole=self.whole)
            self._set(step=rule.parse(f"{self.name}.step", self.step))

    @property
    def rule(self) -> Number:
        example = "" if self.default is None else text_of(self.default)
        return Number(self.low, self.high, self.above, self.below, self.whole, example)

    @property
    def accepted(self) -> str:
        steps = f", in steps of {self.step:.12g} from {self.low:.12g}" if self.step is not None else ""
        return self.rule.accepted + steps

    @property
    def is_discrete(self) -> bool:
        return self.whole or self.step is not None

    @property
    def is_bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high) and not self.above and not self.below

    def parse(self, value: object) -> float | int:
        number = self.rule.parse(self.name, value)
        if self.step is None:
            return number
        position = round((number - self.low) / self.step)
        on_step = self._on_step(position)
        if not math.isclose(on_step, number, rel_tol=1e-9, abs_tol=1e-9 * self.step):
            raise InvalidValue(self.name, value, f"it must be {self.accepted}")
        return on_step

    def from_unit(self, u: float) -> float | int:
        """The value at `u` in [0, 1); fractions are rounded to 4 significant digits, as nobody tunes a fifth."""
        if not self.is_bounded:
            raise InvalidValue(self.name, u, "it has no bounds to draw between: give low and high")
        if self.is_discrete and not self.log:
            return self._on_step(min(int(u * self._n_steps), self._n_steps - 1))
        # Half a number more on both sides gives the first and the last whole number their share.
        margin = 0.5 if self.whole else 0.0
        low, high = self.low - margin, self.high + margin
        value = math.exp(math.log(low) + u * (math.log(high) - math.log(low))) if self.log else low + u * (high - low)
        value = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(value, self.low), self.high)

    def values(self) -> Iterator[float | int]:
        if self.is_discrete and self.is_bounded:
            yield from map(self._on_step, range(self._n_steps))
            return
        ordered = (self.from_unit(number / _LINEAR_STEPS) for number in range(_LINEAR_STEPS))
        yield from (value for value, _ in itertools.groupby(ordered))

    def to_unit(self, value: Any) -> float:
        if self.is_discrete and not self.log:
            return (round((float(value) - self.low) / (self.step or 1)) + 0.5) / self._n_steps
        margin = 0.5 if self.whole else 0.0
        low, high, at = float(self.low - margin), float(self.high + margin), float(value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low)

    @property
    def _n_steps(self) -> int:
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def _on_step(self, position: int) -> float | int:
        value = self.low + position * (self.step or 1)
        return value if self.whole else min(max(float(f"{value:.12g}"), self.low), self.high)


@dataclass(frozen=True)
class Float(Numeric):
    """A number with a fraction.

    Example:
        >>> rate = Float("learning_rate", 1e-4, 1e-1, log=True, default=0.003, label="lr")
        >>> rate.parse("1e-2"), rate.from_unit(0.5)
        (0.01, 0.003162)
    """


@dataclass(frozen=True)
class Int(Numeric):
    """A whole number.

    Example:
        >>> width = Int("width", 16, 128, step=16)
        >>> width.from_unit(0.99), width.accepted
        (128, 'a whole number of at least 16 and at most 128, in steps of 16 from 16')
    """

    whole: ClassVar[bool] = True


@dataclass(frozen=True)
class Categorical(Parameter):
    """One of a few values: text, numbers, true and false. A single choice is a value that stays fixed.

    Example:
        >>> Categorical("optimizer", ("adam", "sgd"), label="opt").accepted
        'one of adam, sgd'
    """

    choices: tuple[Any, ...] = ()

    def _check(self) -> None:
        choices = tuple(map(plain, self.choices))
        if not choices:
            raise InvalidValue(f"{self.name}.choices", "", "it must have at least one value")
        for choice in choices:
            finite = isinstance(choice, str | bool | int) or (isinstance(choice, float) and math.isfinite(choice))
            if not finite or choice == "":
                rule = "a choice must be text, a finite number, true or false; quote what YAML reads as something else"
                raise InvalidValue(f"{self.name}.choices", choice, rule)
        for number, choice in enumerate(choices):
            if choice in choices[:number] or text_of(choice) in map(text_of, choices[:number]):
                raise InvalidValue(f"{self.name}.choices", choice, "it is there twice: name each choice once")
        self._set(choices=choices)

    @property
    def _by_text(self) -> dict[str, Any]:
        return {text_of(choice): choice for choice in self.choices}

    @property
    def rule(self) -> Choice:
        return Choice(tuple(self._by_text))

    @property
    def accepted(self) -> str:
        return self.rule.accepted

    @property
    def is_fixed(self) -> bool:
        return len(self.choices) == 1

    def parse(self, value: object) -> Any:
        texts = self._by_text
        text = text_of(plain(value))
        if text not in texts and isinstance(value, str):
            with suppress(InvalidValue):  # 0.010 as the command line has it
                text = text_of(Number().parse(self.name, value))
        if text not in texts:
            raise InvalidValue(self.name, value, f"it must be {self.accepted}")
        return texts[text]

    def from_unit(self, u: float) -> Any:
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]

    def to_unit(self, value: Any) -> float:
        return (self.choices.index(value) + 0.5) / len(self.choices)

    def values(self) -> Iterator[Any]:
        return iter(self.choices)


def _check_name(what: str, name: object) -> None:
    if not (isinstance(name, str) and len(name) <= _LONGEST_NAME and _NAME.fullmatch(name)):
        rule = f"it must be at most {_LONGEST_NAME} of letters, digits, _ . / and -, and begin with a letter or _"
        raise InvalidValue(what, name, rule)
