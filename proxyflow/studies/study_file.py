"""Studies as YAML files, so that a study can be kept, reviewed and run again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from proxyflow.errors import InvalidValue, UserError
from proxyflow.settings import check_keys

SUFFIXES = (".yaml", ".yml")
BUDGET = ("max_hours", "max_cost_usd", "price_per_hour")


@dataclass(frozen=True)
class StudyFile:
    """What a study file says.

    Attributes:
        path: as the user named it.
        values: by key, as the option of that name would be typed.
        lines: where each key is, counted from 1.
        configurations: of a grid that is written out in the file.
    """

    path: str
    values: dict[str, str]
    lines: dict[str, int]
    configurations: Any = None

    @property
    def study(self) -> str:
        """The study's name: its key, else the file's name."""
        return self.values.get("study", Path(self.path).stem)

    @contextmanager
    def at(self, key: str = "") -> Iterator[None]:
        """Puts the file's name, and the line of the key where the file has it, before a message.

        Args:
            key: that the block is about; else the message's own name is the key.
        """
        try:
            yield
        except UserError as error:
            key = key or (error.name if isinstance(error, InvalidValue) else "")
            if key not in self.lines:
                raise
            raise type(self)._located(f"{self.path}, line {self.lines[key]}, {key}", error) from None

    @staticmethod
    def _located(place: str, error: UserError) -> UserError:
        if isinstance(error, InvalidValue):
            return InvalidValue(f"{place}: {error.name}", error.value, error.rule)
        return UserError(f"{place}: {error}")


def is_study_file(name: str) -> bool:
    """Whether a study is named by its file."""
    return name.endswith(SUFFIXES)


def load_study_file(name: str, accepted: Collection[str]) -> StudyFile:
    """Reads a study file.

    Args:
        accepted: the keys that it may have; those of `BUDGET` stand below `budget`.

    Raises:
        UserError: no such file, no YAML, or a key that is unknown, repeated or without a value; with its line.

    Example:
        >>> load_study_file("mine.yaml", ["datasets", "epochs"])  # doctest: +SKIP
        StudyFile(path='mine.yaml', values={'datasets': 'digits', 'epochs': '2'}, lines={'datasets': 1, 'epochs': 2})
    """
    path = Path(name)
    if not path.is_file():
        raise InvalidValue(
            "study", name, f"a name that ends in .yaml is a study file, and there is none in {Path.cwd()}"
        )
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"study={name} cannot be read as UTF-8 text: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(root, yaml.MappingNode) or not isinstance(content, dict):
        raise UserError(f"{name}: a study file is a mapping such as 'datasets: [digits]' and 'strategies: [full, ...]'")
    lines = _lines(root, name)
    # Keys as they are written: YAML reads some words as values (yes, on, null).
    for key in lines:
        check_keys(f"{name}, line {lines[key]}: key", [key], [*(k for k in accepted if k not in BUDGET), "budget"])
    budget = content.pop("budget", None)
    if "budget" in lines:
        if not isinstance(budget, dict):
            raise UserError(f"{name}, line {lines['budget']}: budget is a mapping of {', '.join(BUDGET)}")
        node = next(value for key, value in root.value if key.value == "budget")
        inner = _lines(node, name)
        for key in inner:
            check_keys(f"{name}, line {inner[key]}: budget", [key], BUDGET)
        content |= budget
        lines |= inner
    configurations = content.pop("grid") if isinstance(content.get("grid"), (list, dict)) else None
    values = {key: _text(value, f"{name}, line {lines[key]}: {key}") for key, value in content.items()}
    return StudyFile(name, values, lines, configurations)


def _lines(node: yaml.MappingNode, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in found:
            raise UserError(
                f"{name}, line {line}: {key.value} is given a second time, first in line {found[key.value]}"
            )
        found[key.value] = line
    return found


def _text(value: Any, place: str) -> str:
    """A value as it would be typed on a command line."""
    if isinstance(value, list) and value and not any(isinstance(each, (list, dict)) for each in value):
        return ",".join(_text(each, place) for each in value)
    if value is None or isinstance(value, (list, dict)):
        raise UserError(f"{place} is {value!r}; give a value, or a list of values")
    return str(value).lower() if isinstance(value, bool) else str(value)
