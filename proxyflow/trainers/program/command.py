"""The template of a user's command: split into words, checked, and filled in for one training."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import Any

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.spaces.parameters import text_of
from proxyflow.trainers.reduced import reduction_names

# What every training fills in, beside its hyperparameters.
PLACEHOLDERS: Mapping[str, str] = {
    "data": "the folder with the examples of this training",
    "train": "its training examples: a folder or a file",
    "valid": "its validation examples, likewise",
    "epochs": "passes over the training examples",
    "seed": "root of all random streams",
    "output": "a folder for whatever the program writes, such as metrics.jsonl",
    "config": "a JSON file with all hyperparameters",
}
NAME = "program"
TAKES_NAME_AND_VALUE = ("-P", "--param-list")  # of `mlflow run`: -P learning_rate={learning_rate}
EXAMPLE = "python train.py --data {data} --lr {learning_rate} --epochs {epochs}"


@dataclass(frozen=True)
class Command:
    """A command with placeholders, as `parse_command` reads it.

    Attributes:
        text: the template as it was given.
        words: the program and its arguments, each of which may have placeholders.

    Example:
        >>> command = parse_command("python train.py --lr {learning_rate} --momentum {momentum}")
        >>> command.fill({"learning_rate": 0.1}, inactive=["momentum"])
        ['python', 'train.py', '--lr', '0.1']
    """

    text: str
    words: tuple[str, ...]

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """The names of all placeholders."""
        return frozenset(name for word in self.words for name in placeholders_of(word))

    def check(self, hyperparameters: Iterable[str]) -> None:
        """Checks the placeholders against the hyperparameters of a study.

        Raises:
            UnknownName: a placeholder is neither a hyperparameter nor one of `PLACEHOLDERS`.
            InvalidValue: a hyperparameter has the name of one of `PLACEHOLDERS`.
        """
        names = list(hyperparameters)
        for name in sorted(PLACEHOLDERS.keys() & set(names)):
            rule = f"{{{name}}} stands for {PLACEHOLDERS[name]}; give the hyperparameter another name"
            raise InvalidValue("hyperparameter", name, rule)
        known = [*names, *PLACEHOLDERS, *reduction_names()]
        for name in sorted(self.placeholders):
            if name not in known:
                raise UnknownName("program: placeholder", f"{{{name}}}", known)

    def unused(self, hyperparameters: Iterable[str]) -> list[str]:
        """The hyperparameters that the command does not mention; none where it takes them all from a file."""
        return [] if "config" in self.placeholders else sorted(set(hyperparameters) - self.placeholders)

    def fill(self, values: Mapping[str, Any], inactive: Iterable[str] = ()) -> list[str]:
        """The arguments of one training.

        Args:
            values: by placeholder; further values have no effect.
            inactive: placeholders that this training does not use. Arguments with them are left out, and so is
                an option (a word that begins with `-`) whose whole value they are.
        """
        filled: list[str] = []
        absent = set(inactive) - set(values)
        before = ""  # the word before this one, if it is in the command
        for word in self.words:
            if placeholders_of(word) & absent:
                whole = word.startswith("{") or before in TAKES_NAME_AND_VALUE
                if whole and before.startswith("-") and "=" not in before:
                    filled.pop()
                before = ""
                continue
            filled.append(_filled(word, values))
            before = word
        return filled


def parse_command(program: str | Sequence[str]) -> Command:
    """Reads a command.

    Args:
        program: as typed in a shell, of which quotes and backslashes are understood but no pipes, variables or
            wildcards; or a list of words.

    Raises:
        InvalidValue: it is empty, or a quote or a brace is not closed.
    """
    text = program if isinstance(program, str) else shlex.join(program)
    try:
        words = shlex.split(program) if isinstance(program, str) else list(program)
    except ValueError as error:
        raise InvalidValue(NAME, text, f"{error}; write it as in a shell, for example {EXAMPLE}") from None
    if not words:
        raise InvalidValue(NAME, text, f"give the command that trains, for example {EXAMPLE}")
    command = Command(text, tuple(words))
    for operator in ("|", "&&", "||", ";", ">", "<", "&"):
        if operator in words:
            rule = f"{operator} needs a shell, and the command runs without one; write bash -c '...', or a script"
            raise InvalidValue(NAME, text, rule)
    _ = command.placeholders
    return command


def placeholders_of(word: str) -> frozenset[str]:
    """The placeholders in one word.

    Raises:
        InvalidValue: a brace is not closed, or a placeholder is more than a name.
    """
    fix = "a placeholder is a name in braces, {learning_rate}; write a brace that is none twice: {{"
    try:
        parts = list(Formatter().parse(word))
    except ValueError as error:
        raise InvalidValue(NAME, word, f"{error}; {fix}") from None
    names = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in names:
        if not name or name.isdigit() or spec or conversion or not set(name).isdisjoint("[]!"):
            raise InvalidValue(NAME, word, fix)
    return frozenset(name for name, _, _ in names)


def _filled(word: str, values: Mapping[str, Any]) -> str:
    """One word with values in the place of placeholders; names may have dots, which `str.format` would resolve."""
    return "".join(
        literal + ("" if name is None else as_argument(values[name])) for literal, name, _, _ in Formatter().parse(word)
    )


def as_argument(value: object) -> str:
    """A value as a program's argument: `0.001`, `true`, and text as it is."""
    return value if isinstance(value, str) else text_of(value)
