"""The file MLproject, made from the commands' options: `python -m proxyflow.cli.mlproject` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from proxyflow.cli.app import COMMANDS, load_command


def mlproject() -> str:
    """The text of the file: every option of every command, with its default, as a parameter."""
    head = "name: proxyflow\n\nconda_env: conda.yaml\n\nentry_points:\n"
    return head + "".join(map(_entry_point, COMMANDS))


def _entry_point(name: str) -> str:
    params = load_command(name).params
    declared = [f'      {param.name}: {{type: string, default: "{param.default}"}}' for param in params]
    passed = [f"      --{str(param.name).replace('_', '-')} {{{param.name}}}" for param in params]
    call = f"      python -m entrypoints.{name}"
    return "\n".join([f"  {name}:", "    parameters:", *declared, "    command: >-", call, *passed, ""])


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "MLproject").write_text(mlproject(), encoding="utf-8")
