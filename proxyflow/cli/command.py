"""What every command is: options, and help that ends with lists of plug-ins and an example."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click

from proxyflow.cli.launched import check_arguments
from proxyflow.cli.program import start_of


class Command(click.Command):
    """A command whose help has further sections, made only when help is asked for.

    Args:
        example: options that work as they are.
        sections: each returns a section of the help.
    """

    def __init__(self, *args: Any, example: str, sections: tuple[Callable[[], str], ...], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example, self.sections = example, sections

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        name = str(self.name)
        example = (
            f"\b\nExample:\n  {start_of(name)} {self.example}\n"
            f"  mlflow run . -e {name} {_as_mlflow(self.example)}  (in a clone)"
        )
        for section in (*(make() for make in self.sections), example):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(inspect.cleandoc(section))


def command(
    name: str, help: str, example: str, *sections: Callable[[], str]
) -> Callable[[Callable[..., None]], click.Command]:
    """A click command in the project's manner: options with - or _ alike; see `Command`."""
    settings = {
        "max_content_width": 110,
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
    }
    return click.command(name, cls=Command, help=help, example=example, sections=sections, context_settings=settings)


def _as_mlflow(example: str) -> str:
    words = example.split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return " ".join(f"-P {key.removeprefix('--').replace('-', '_')}={value}" for key, value in pairs)
