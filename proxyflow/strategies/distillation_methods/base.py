"""What a method of distillation is: named settings with their rules, and a process that learns images by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from proxyflow.core.errors import InvalidValue
from proxyflow.core.registry import Registry
from proxyflow.core.settings import Number, settings_of, validate_settings

ITERATIONS = Number(low=1, whole=True, example="1000")
# In the option of a strategy, which has to be a number: the default of the method.
OWN = 0


@dataclass(frozen=True)
class Method:
    """One way to learn synthetic images.

    A subclass is a frozen dataclass whose fields are declared with `settings.setting`, `iterations` among them.
    `process` names the module in `proxyflow.distillation` and its `process.Distiller`, which need torch. `remedy` is
    the advice to users whose loss stops being finite.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    process: ClassVar[tuple[str, str]]
    remedy: ClassVar[str]

    iterations: int

    def __post_init__(self) -> None:
        try:
            validate_settings(self)
        except InvalidValue as error:
            raise InvalidValue(f"method {self.name}: {error.name}", error.value, error.rule) from None

    @property
    def canonical(self) -> str:
        """The method with the settings that are not at their default: `distribution-matching,width=64`."""
        given = [field for field in settings_of(self) if getattr(self, field.name) != field.default]
        return ",".join([self.name, *(f"{field.name}={getattr(self, field.name)}" for field in given)])

    @property
    def total(self) -> int:
        """How many steps its process takes in all, where `iterations` are not all of them."""
        return self.iterations


methods: Registry[type[Method]] = Registry("method")


def register_method(cls: type[Method]) -> type[Method]:
    """Class decorator: registers a method under its own name."""
    return methods.add(cls.name, cls)


def syntax_of(cls: type[Method]) -> str:
    """A method with all of its settings at their defaults."""
    return cls.name + "".join(f",{field.name}={field.default}" for field in settings_of(cls))


def parse_method(name: str, settings: str = "", iterations: int = OWN) -> Method:
    """Reads a method's name and its settings.

    Args:
        settings: `key=value` pairs, separated by commas.
        iterations: of all other settings the one that every method has; 0 is the method's own default.

    Raises:
        InvalidValue: unknown method or setting, or a value that breaks its rule.

    Example:
        >>> parse_method("distribution-matching", "width=64").canonical
        'distribution-matching,width=64'
    """
    cls = methods[name]
    known = [field.name for field in settings_of(cls)]
    values: dict[str, Any] = {"iterations": iterations} if iterations != OWN else {}
    for part in settings.replace(",", " ").split():
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise InvalidValue("settings", part, f"settings of {name} are {', '.join(known)}; for example width=64")
        if key in values:
            raise InvalidValue("settings", part, f"{key} is given twice")
        values[key] = value
    return cls(**values)
