"""Options made from the settings' own declarations, so that a setting is declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, OptionalValue, Rule, TrueFalse, settings_of

F = TypeVar("F", bound=Callable[..., Any])
NONE, AUTO = "none", "auto"


class Ruled(click.ParamType[Any]):
    """A value that a settings rule parses; the rule's own message is what the user reads."""

    name = "value"

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.rule.parse(param.name if param is not None and param.name else self.name, value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return _metavar(self.rule)


def _metavar(rule: Rule) -> str:
    if isinstance(rule, Choice):
        return "|".join(rule.values)
    if isinstance(rule, TrueFalse):
        return "true|false"
    if isinstance(rule, OptionalValue):
        inner = _metavar(rule.rule)
        return f"{rule.word}|{inner}" if isinstance(rule.rule, TrueFalse) else f"{inner}|{rule.word}"
    return "TEXT" if not isinstance(rule, Number) else "INTEGER" if rule.whole else "NUMBER"


def ruled_option(name: str, default: Any, rule: Rule, help: str) -> Callable[[F], F]:
    """An option `--name` whose values a rule checks; help shows what is accepted."""
    named = isinstance(rule.rule if isinstance(rule, OptionalValue) else rule, (Choice, TrueFalse))
    accepted = "" if named else f" Takes {rule.accepted}."
    return click.option(
        f"--{name.replace('_', '-')}",
        type=Ruled(rule),
        default=str(default),
        show_default=True,
        help=f"{help[0].upper()}{help[1:]}.{accepted}",
    )


def switch(name: str, help: str) -> Callable[[F], F]:
    """An option that takes true or false, false by default."""
    return ruled_option(name, "false", TrueFalse(), help)


def word_option(name: str, word: str, help: str, metavar: str | None = None) -> Callable[[F], F]:
    """An option `--name` that takes any text; `word`, its default, stands for none, and so does no text at all."""
    return click.option(
        f"--{name.replace('_', '-')}",
        default=word,
        show_default=True,
        metavar=metavar,
        callback=lambda ctx, param, value: value or word,
        help=help,
    )


def settings_options(*owners: type, only: tuple[str, ...] = ()) -> Callable[[F], F]:
    """One option per declared setting of the dataclasses, in their order.

    Args:
        only: leave out all settings but these.
    """

    def decorate(function: F) -> F:
        fields = [field for owner in owners for field in settings_of(owner)]
        for field in reversed(fields):
            if only and field.name not in only:
                continue
            default = field.metadata["word"] if field.default in (None, (), "") else field.default
            function = ruled_option(field.name, default, field.metadata["rule"], field.metadata["help"])(function)
        return function

    return decorate


def take(owner: type, options: dict[str, Any]) -> dict[str, Any]:
    """Moves the settings of `owner` out of the parsed options."""
    return {field.name: options.pop(field.name) for field in settings_of(owner) if field.name in options}


def parse_list(name: str, text: str) -> tuple[str, ...]:
    """A comma- or space-separated list, each item once.

    Raises:
        InvalidValue: it is empty.
    """
    items = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if not items:
        raise InvalidValue(name, text, "give at least one, separated by commas")
    return items


def parse_numbers(name: str, text: str, rule: Number) -> tuple[int, ...]:
    """A list of whole numbers that a rule checks, each once."""
    return tuple(dict.fromkeys(int(rule.parse(name, item)) for item in parse_list(name, text)))
