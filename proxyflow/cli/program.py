"""How a user starts a command, for messages that say what to type next."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyflow.data.catalog import DataOptions


def start_of(name: str) -> str:
    """What starts a command, in the way in which this process was started."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec is not None else ""
    if module.startswith("entrypoints."):
        return f"python -m entrypoints.{name}"
    return f"python -m proxyflow {name}" if module == "proxyflow.__main__" else f"proxyflow {name}"


def next_command(name: str, study: str, data: DataOptions | None = None, **options: object) -> str:
    """A command to go on with, as the shell takes it, in the same study and with the same data.

    Args:
        data: where a command that reads data finds it.
        options: those that are None are left out.
    """
    if data is not None:
        options["data_dir"] = data.folder if data.data_dir is not None else None
        options["skip_bad"] = "true" if data.skip_bad else None
    options["study"] = study
    given = {key.replace("_", "-"): str(value) for key, value in options.items() if value is not None}
    return f"{start_of(name)} {shlex.join(word for key, value in given.items() for word in (f'--{key}', value))}"
