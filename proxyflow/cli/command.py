"""What every command is: options by topic, a help of one screen, and a long one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from proxyflow.cli.help import Context, Help, Section
from proxyflow.cli.launched import check_arguments
from proxyflow.cli.options import Option


class Command(click.Command):
    """A command with `--help`, which fits on a screen, and `--help-all`; see `help`.

    Args:
        example: options that work as they are.
        sections: of the long help.
    """

    context_class = Context

    def __init__(self, *args: Any, example: str, sections: tuple[Section, ...], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example, self.sections = example, sections
        self._help_all = click.Option(
            ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=self._show_all
        )

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        # Not one of `params`, which are those of MLproject.
        return [*super().get_params(ctx), self._help_all]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._write_head(ctx, formatter)
        self._help().write_short(formatter)

    def _show_all(self, ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            formatter = ctx.make_formatter()
            self._write_head(ctx, formatter)
            self._help().write_long(formatter, ctx)
            click.echo(formatter.getvalue().rstrip("\n"))
            ctx.exit()

    def _write_head(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)

    def _help(self) -> Help:
        options = [param for param in self.params if isinstance(param, Option)]
        return Help(str(self.name), self.example, options, self.sections)


def command(name: str, help: str, example: str, *sections: Section) -> Callable[[Callable[..., None]], click.Command]:
    """A click command in the project's manner: options with - or _ alike; see `Command`."""
    settings = {
        "max_content_width": 110,
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
    }
    return click.command(name, cls=Command, help=help, example=example, sections=sections, context_settings=settings)
