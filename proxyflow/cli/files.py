"""Options from a study file, and errors that name its line."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from proxyflow.core.errors import InvalidValue
from proxyflow.studies.study_file import StudyFile


def take_from_file(ctx: click.Context, file: StudyFile, options: dict[str, Any]) -> None:
    """Replaces options by the values of the file; an option in the file must be at its default."""
    for param in ctx.command.params:
        name = str(param.name)
        if name not in file.lines or name == "study":
            continue
        with file.at(name):
            if options[name] != param.type_cast_value(ctx, param.get_default(ctx)):
                raise InvalidValue(name, options[name], f"{file.path} sets it as well; set it in one place")
            if name in file.values:
                options[name] = param.type_cast_value(ctx, file.values[name])
    options["study"] = file.study


def at(file: StudyFile | None, key: str = "") -> contextlib.AbstractContextManager[None]:
    """Errors of the block name the file and the line of a key, where there is a file."""
    return file.at(key) if file is not None else contextlib.nullcontext()
