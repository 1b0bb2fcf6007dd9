"""Checks under `mlflow run`: parameter names must be those of MLproject, and a run's params must be what was used.

MLflow logs the declared parameters before the command starts, and they cannot be changed. It passes parameters that
MLproject does not declare to the command as further options.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from proxyflow.core.errors import InvalidValue, UnknownName, UserError

if TYPE_CHECKING:
    from proxyflow.tracking.runs.writer import RunWriter


def is_launched() -> bool:
    """Whether a run was made for this process before it began."""
    return bool(os.environ.get("MLFLOW_RUN_ID"))


def check_arguments(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Under `mlflow run`, a command accepts only MLproject's parameters, each once.

    Raises:
        UnknownName: a parameter is misspelled.
        InvalidValue: `-P batch-size=16` came as a second `--batch-size` after the declared one.
    """
    if not is_launched():
        return
    try:
        *_, order = command.make_parser(ctx).parse_args(args=list(args))
    except click.NoSuchOption as error:
        given, _ = _last(ctx, args, error.option_name)
        raise UnknownName("parameter", given, [str(param.name) for param in command.params]) from None
    for param, count in Counter(order).items():
        if count > 1:
            given, value = _last(ctx, args, f"--{param.name}")
            again = "the option is given twice, and the run's params have the first value"
            raise InvalidValue(given, value, f"{again}; give it once, under mlflow run as -P {param.name}={value}")


def _last(ctx: click.Context, args: list[str], option: str) -> tuple[str, str]:
    """An option as it was typed last, without its dashes, and its value."""
    normal = ctx.token_normalize_func or str
    places = [number for number, arg in enumerate(args) if normal(arg.partition("=")[0]) == normal(option)]
    if not places:  # one of several short options in a word
        return option, ""
    place = places[-1]
    given, equals, value = args[place].removeprefix("--").partition("=")
    return given, value if equals else "".join(args[place + 1 : place + 2])


def check_logged(writer: RunWriter) -> None:
    """Uses a new run if the params of the assigned run differ from this command's options.

    The params may come from another project whose command calls this one.
    """
    ctx = click.get_current_context(silent=True)
    for param in ctx.command.params if ctx is not None else ():
        name = str(param.name)
        logged = writer.assigned.params.get(name)
        if ctx is not None and logged is not None and not _means(ctx, param, logged):
            writer.assigned.redirect(f"its params have {name}={logged}, but the command was given another value")


def _means(ctx: click.Context, param: click.Parameter, text: str) -> bool:
    """Whether a param, as it was logged, has the command's value."""
    try:
        return bool(param.process_value(ctx, text) == ctx.params[str(param.name)])
    except (click.ClickException, UserError):
        return False


def check_used(writer: RunWriter, asked: Mapping[str, Any], used: Mapping[str, Any]) -> None:
    """Uses a new run if the values used differ from the params of the assigned run.

    Args:
        asked, used: values of options as they were given, and as they are used.
    """
    for name, value in used.items():
        if name in writer.assigned.params and asked[name] != value:
            writer.assigned.redirect(
                f"its params have {name}={writer.assigned.params[name]}, but {name}={value} is used"
            )
