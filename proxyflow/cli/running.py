"""Runs a command as a process: its errors become one line on stderr and an exit status."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from proxyflow.cli.launched import is_launched
from proxyflow.cli.style import styled
from proxyflow.core.errors import ProxyflowError, Terminated, UserError, one_line, without_credentials


def run(command: click.Command, started_as: str | None = None) -> NoReturn:
    """Runs a command with this process's arguments and ends the process.

    Args:
        started_as: what help shows as the program's name.
    """

    def terminate(number: int, frame: object) -> NoReturn:
        raise Terminated()

    # Characters that a terminal or file cannot encode must not raise after the work is done.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, terminate)
    sys.exit(status_of(command, sys.argv[1:], started_as, last=True))


def status_of(
    command: click.Command, arguments: Sequence[str], started_as: str | None = None, last: bool = False
) -> int:
    """Runs a command and returns its exit status.

    Args:
        last: the process ends with it.
    """
    try:
        command.main(list(arguments), started_as, standalone_mode=False)
    except BaseException as raised:
        error = UserError(raised.format_message()) if isinstance(raised, click.ClickException) else raised
        if isinstance(error, click.exceptions.Abort):
            error = KeyboardInterrupt()
        # mlflow run sends SIGTERM after Ctrl-C, which must not interrupt the writes below.
        for number in (signal.SIGINT, signal.SIGTERM) if last else ():
            signal.signal(number, signal.SIG_IGN)
        if is_launched():
            from proxyflow.tracking.runs.launch import end_assigned_run  # imports mlflow

            end_assigned_run(error=error)
        return _say(error)
    return 0


def _say(error: BaseException) -> int:
    """Prints an error for the user, and returns its exit status."""
    if isinstance(error, KeyboardInterrupt):
        print("interrupted; rerun the command to resume", file=sys.stderr)
        return 130
    if isinstance(error, Terminated):
        print("stopped by SIGTERM; rerun the command to resume", file=sys.stderr)
        return 143
    if isinstance(error, ProxyflowError):
        _say_error(one_line(error))
        return error.exit_status
    if advice := _advice_on(error):
        _say_error(f"the tracking server rejected the request: {one_line(error)}; {advice}")
        return UserError.exit_status
    if isinstance(error, Exception) and _is_outage(error):
        _say_error(f"the tracking server failed: {one_line(error)}")
    else:
        # A bug, not a user error: print the traceback for developers.
        print(without_credentials("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    return 1


def _say_error(text: str) -> None:
    click.echo(f"{styled('error:', fg='red', bold=True)} {text}", err=True)


def _advice_on(error: BaseException) -> str:
    if "mlflow" not in sys.modules:
        return ""
    from proxyflow.tracking.connection import access_advice  # imports mlflow

    return access_advice(error)


def _is_outage(error: Exception) -> bool:
    if "mlflow" not in sys.modules:
        return False
    from proxyflow.tracking.delivery.retrying import TRACKING_ERRORS  # imports mlflow

    return isinstance(error, TRACKING_ERRORS)
