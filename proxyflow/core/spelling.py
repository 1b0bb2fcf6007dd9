"""Spellings: how users write a plug-in with its settings, `name:argument,option=value`, and how it is written back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import settings_of, validate_settings

# Parts of a proxy are joined with it; before a digit it belongs to a list, as in classes:0+3.
JOIN = re.compile(r"\s*\+\s*(?!\d)")
LIST = "LIST"  # symbol of an argument whose items are joined with +
LONGEST_SPELLING = 5000  # characters of a tag's value that every tracking server accepts


@dataclass(frozen=True)
class Spelled:
    """A frozen dataclass that users write as `name:argument,option=value`.

    Its fields are declared with `settings.setting`; the first is the argument after the colon, the others are options
    after commas.
    """

    kind: ClassVar[str]
    name: ClassVar[str]

    def __post_init__(self) -> None:
        try:
            validate_settings(self)
        except InvalidValue as error:
            symbols = {field.name: field.metadata.get("symbol", field.name) for field in settings_of(self)}
            name = f"{self.kind} {self.name}: {symbols[error.name]}"
            raise InvalidValue(name, error.value, error.rule) from None

    @property
    def canonical(self) -> str:
        """The one spelling that tags, files and tables use: defaults left out, numbers in shortest form."""
        fields = settings_of(self)
        given = [field for field in fields[1:] if getattr(self, field.name) != field.default]
        argument = "".join(f":{getattr(self, field.name)}" for field in fields[:1])
        return self.name + argument + "".join(f",{field.name}={getattr(self, field.name)}" for field in given)


def parts_of(text: str) -> list[str]:
    """The parts of a proxy's spelling, in order: what `+` joins, else the text itself.

    Example:
        >>> parts_of("classes:0+3+epochs:5")
        ['classes:0+3', 'epochs:5']
    """
    return JOIN.split(text.strip())


S = TypeVar("S", bound=Spelled)


def syntax_of(cls: type[Spelled]) -> str:
    """How a plug-in is written, with its placeholder and options: `hardest:F[,drop=0.0][,by=loss]`."""
    fields = settings_of(cls)
    argument = "".join(f":{field.metadata['symbol']}" for field in fields[:1])
    return cls.name + argument + "".join(f"[,{field.name}={field.default}]" for field in fields[1:])


def takes_list(cls: type[Spelled]) -> bool:
    """Whether its argument is a list whose items are joined with `+`."""
    fields = settings_of(cls)
    return bool(fields) and fields[0].metadata["symbol"] == LIST


def parse_spelling(text: str, registry: Mapping[str, type[S]], kind: str) -> S:
    """Reads `name`, `name:argument` or `name:argument,option=value,…`.

    Args:
        text: the spelling.
        registry: the plug-ins by name.
        kind: the user's word for such a plug-in, for error messages.

    Raises:
        InvalidValue: unknown name, missing or superfluous argument, unknown option, or a value out of range.
    """
    head, *parts = [part.strip() for part in text.strip().split(",")]
    if ":" not in head:
        head = head.replace("=", ":", 1)  # classes=0+3 is what people write for classes:0+3
    name, colon, argument_text = head.partition(":")
    cls = registry[name.strip()]
    usage = f"write {syntax_of(cls)}"
    fields = settings_of(cls)
    values: dict[str, Any] = {}
    if fields and not argument_text.strip():
        raise InvalidValue(kind, text, f"{fields[0].metadata['symbol']} is missing; {usage}")
    if fields:
        values[fields[0].name] = argument_text.strip()
    elif colon:
        raise InvalidValue(kind, text, f"{name} takes no argument; {usage}")
    options = {option.name for option in fields[1:]}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in options:
            known = f"its options are {', '.join(sorted(options))}" if options else "it has no options"
            hint = _joined(cls, head, parts)
            raise InvalidValue(kind, text, f"{part!r} is not an option of {name}: {known}{hint}")
        if key in values:
            raise InvalidValue(kind, text, f"the option {key} is given twice")
        values[key] = value
    return cls(**values)


def _joined(cls: type[Spelled], head: str, parts: list[str]) -> str:
    """How to write a list whose items were separated by commas; empty where there is none."""
    if not takes_list(cls) or not parts[0].isdigit():
        return ""
    items = list(itertools.takewhile(str.isdigit, parts))
    return f"; write {','.join(['+'.join([head, *items]), *parts[len(items) :]])}"
