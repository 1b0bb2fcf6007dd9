"""Options made from the settings' own declarations, so that a setting is declared once."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import click

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, OptionalValue, Rule, TrueFalse, settings_of

F = TypeVar("F", bound=Callable[..., Any])
NONE, AUTO = "none", "auto"
CLAUSE = re.compile(r"[.;:](?:\s|$)")  # ends the part of an option's help that the short help shows


class Topic(Enum):
    """The headings under which help shows options, in order."""

    DATA = "Data"
    PROXIES = "Proxies"
    SCORING = "Scoring"
    DISTILLATION = "Distillation"
    SEARCH = "Search"
    TRAINING = "Training"
    HYPERPARAMETERS = "Hyperparameters"
    OWN_CODE = "Your own code"
    EXECUTION = "Execution"
    REPORT = "Report"
    TRACKING = "Tracking"


class Option(click.Option):
    """An option that knows where help shows it.

    Args:
        topic: its heading.
        common: whether it is one of the few that the short help explains.
    """

    def __init__(self, *args: Any, topic: Topic, common: bool, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.topic, self.common = topic, common

    @property
    def brief(self) -> tuple[str, str]:
        """The option's name, and the first clause of its help with its default."""
        default = "" if self.default in (NONE, AUTO) else f" [default: {self.default}]"
        return self.opts[0], f"{CLAUSE.split(self.help or '')[0]}.{default}"


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


def text_option(
    name: str, default: str, help: str, topic: Topic, *, common: bool = False, **settings: Any
) -> Callable[[F], F]:
    """An option `--name` that takes any text."""
    return click.option(
        f"--{name.replace('_', '-')}",
        cls=Option,
        default=default,
        show_default=True,
        help=help,
        topic=topic,
        common=common,
        **settings,
    )


def ruled_option(
    name: str, default: Any, rule: Rule, help: str, topic: Topic, *, common: bool = False
) -> Callable[[F], F]:
    """An option `--name` whose values a rule checks; help shows what is accepted."""
    named = isinstance(rule.rule if isinstance(rule, OptionalValue) else rule, (Choice, TrueFalse))
    accepted = "" if named else f" Takes {rule.accepted}."
    text = f"{help[0].upper()}{help[1:]}.{accepted}"
    # `--dry-run` alone means what everybody expects of it.
    alone = {"is_flag": False, "flag_value": "true"} if isinstance(rule, TrueFalse) else {}
    return text_option(name, str(default), text, topic, common=common, type=Ruled(rule), **alone)


def switch(name: str, help: str, topic: Topic, *, common: bool = False) -> Callable[[F], F]:
    """An option that takes true or false, false by default."""
    return ruled_option(name, "false", TrueFalse(), help, topic, common=common)


def word_option(
    name: str, word: str, help: str, topic: Topic, *, common: bool = False, metavar: str | None = None
) -> Callable[[F], F]:
    """An option `--name` that takes any text; `word`, its default, stands for none, and so does no text at all."""
    return text_option(
        name,
        word,
        help,
        topic,
        common=common,
        metavar=metavar,
        callback=lambda ctx, param, value: value or word,
    )


def settings_options(*owners: type, topic: Topic, common: tuple[str, ...] = ()) -> Callable[[F], F]:
    """One option per declared setting of the dataclasses, in their order.

    Args:
        topic: of all of them.
        common: those that the short help explains.
    """

    def decorate(function: F) -> F:
        fields = [field for owner in owners for field in settings_of(owner)]
        for field in reversed(fields):
            default = field.metadata["word"] if field.default in (None, (), "") else field.default
            rule, help, name = field.metadata["rule"], field.metadata["help"], field.name
            function = ruled_option(name, default, rule, help, topic, common=name in common)(function)
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
