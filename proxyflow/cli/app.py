"""The program `proxyflow`: all commands by name, each imported only when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn, cast

import click

from proxyflow import __version__
from proxyflow.cli.program import start_of
from proxyflow.cli.running import run
from proxyflow.core.errors import UnknownName, UserError
from proxyflow.core.registry import installed_plugins

# In the order of a user's work; README and MLproject have the same names.
COMMANDS = {
    "main": "a whole small study, from scoring to report, and a search",
    "score": "scores how hard each example is for a model",
    "materialize": "selects a subset and logs it as a self-contained artifact",
    "distill": "makes synthetic images that stand for a data set, as a subset",
    "train": "trains one configuration on one subset",
    "sweep": "runs a study of many trainings, or resumes it",
    "search": "finds the best configuration for a fraction of the cost",
    "check": "says whether tuning on a proxy is safe",
    "report": "measures the proxies of a study",
}


def load_command(name: str) -> click.Command:
    """The command of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in COMMANDS:
        raise UnknownName("command", name, COMMANDS)
    return cast(click.Command, getattr(import_module(f"proxyflow.cli.{name}"), name))


class Program(click.Group):
    """All commands; help lists them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        return load_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        if plugins := installed_plugins():
            with formatter.section("Plug-ins"):
                formatter.write_dl(plugins)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            raise UserError(f"no command given; the commands are {', '.join(COMMANDS)}, and --help describes them")
        return super().parse_args(ctx, args)


@click.group(
    cls=Program,
    help="Builds proxy data sets for hyperparameter search, trains on them, and measures how well they predict results "
    "on the full data. COMMAND --help shows how a command is used, COMMAND --help-all explains all of its options.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="proxyflow %(version)s")
def program() -> None: ...


def main() -> NoReturn:
    """The console script, and `python -m proxyflow`."""
    run(program, start_of("").rstrip())


def run_command(name: str) -> NoReturn:
    """One command as a process of its own: `python -m entrypoints.NAME`."""
    run(load_command(name), start_of(name))
