"""Study files: a study as YAML that can be stored, reviewed and run again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.settings import check_keys
from proxyflow.data.catalog import datasets
from proxyflow.data.name_lists import join_names, split_names
from proxyflow.spaces.grids import is_grid_file
from proxyflow.spaces.space_file import yaml_problem

# A file that a strategy names: its path has none of the characters that separate strategies.
STRATEGY_FILE = re.compile(r"(=file:)([^,;+\s]+)")
WRITTEN = ("grid", "space")  # keys whose value may be spelled out instead of naming a file
BUDGET = ("max_hours", "max_cost_usd", "price_per_hour")


@dataclass(frozen=True)
class StudyFile:
    """The content of a study file.

    Attributes:
        path: the path as the user gave it.
        values: option name to value, as typed on a command line.
        lines: key to line number, starting at 1.
        written: what the file spells out, by key: a grid, or a space.
    """

    path: str
    values: dict[str, str]
    lines: dict[str, int]
    written: Mapping[str, Any] = field(default_factory=dict)

    @property
    def study(self) -> str:
        """The study's name: the key `study`, else the file's name."""
        return self.values.get("study", Path(self.path).stem)

    @contextmanager
    def at(self, key: str = "") -> Iterator[None]:
        """Prefixes errors of the block with the file's name and the key's line.

        Args:
            key: the key; by default the error's `name`.
        """
        try:
            yield
        except UserError as error:
            key = key or (error.name if isinstance(error, InvalidValue) else "")
            if key not in self.lines:
                raise
            raise type(self)._resolved(f"{self.path}, line {self.lines[key]}, {key}", error) from None

    @staticmethod
    def _resolved(place: str, error: UserError) -> UserError:
        if isinstance(error, InvalidValue):
            return InvalidValue(f"{place}: {error.name}", error.value, error.rule)
        return UserError(f"{place}: {error}")


def load_study_file(name: str, accepted: Collection[str], limits_in_budget: bool = True) -> StudyFile:
    """Reads a study file; its paths (data sets, data directory, grid, files of strategies) are relative to it.

    Args:
        name: path of the file.
        accepted: accepted keys.
        limits_in_budget: those in `BUDGET` belong below the key `budget`; else they are keys like others.

    Raises:
        UserError: the file does not exist or is not YAML, or a key is unknown, repeated or without a value; the
            message has the line.

    Example:
        >>> load_study_file("mine.yaml", ["datasets", "epochs"])  # doctest: +SKIP
        StudyFile(path='mine.yaml', values={'datasets': 'digits', 'epochs': '2'}, lines={'datasets': 1, 'epochs': 2})
    """
    path = Path(name)
    if not path.is_file():
        raise InvalidValue(
            "study", name, f"a name that ends in .yaml is a study file, and {Path.cwd()} has no such file"
        )
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"study={name} cannot be read as UTF-8 text: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not YAML: {yaml_problem(error)}") from None
    if not isinstance(root, yaml.MappingNode) or not isinstance(content, dict):
        raise UserError(f"{name}: a study file is a mapping such as 'datasets: [digits]' and 'strategies: [full, ...]'")
    lines = _lines(root, name)
    # Keys as written: YAML converts some words (yes, on, null).
    for key in lines:
        known = accepted if not limits_in_budget else [*(k for k in accepted if k not in BUDGET), "budget"]
        check_keys(f"{name}, line {lines[key]}: key", [key], list(known))
    if not limits_in_budget and isinstance(content.get("budget"), dict):
        rule = f"it is a number of full trainings; {', '.join(BUDGET)} are keys of their own"
        raise UserError(f"{name}, line {lines['budget']}: budget={content['budget']} is not accepted: {rule}")
    budget = content.pop("budget", None) if limits_in_budget else None
    if "budget" in lines and limits_in_budget:
        if not isinstance(budget, dict):
            raise UserError(f"{name}, line {lines['budget']}: budget is a mapping of {', '.join(BUDGET)}")
        node = next(value for key, value in root.value if key.value == "budget")
        inner = _lines(node, name)
        for key in inner:
            check_keys(f"{name}, line {inner[key]}: budget", [key], BUDGET)
        content |= budget
        lines |= inner
    written = {key: content.pop(key) for key in WRITTEN if isinstance(content.get(key), (list, dict))}
    # Strategies contain commas, which their parser handles; paths of data sets may contain any character.
    joins: dict[str, Callable[[list[str]], str]] = {"datasets": join_names, "program": shlex.join}
    values = {
        key: _text(_resolved(path.parent, key, value), f"{name}, line {lines[key]}: {key}", joins.get(key, ",".join))
        for key, value in content.items()
    }
    return StudyFile(name, values, lines, written)


def _resolved(folder: Path, key: str, value: Any) -> Any:
    """Converts paths of a value from relative to the study file to relative to the working directory."""
    if key == "dataset" and isinstance(value, str):
        return _resolved_dataset(folder, value)
    if key == "datasets" and isinstance(value, (str, list)):
        items = split_names("datasets", value) if isinstance(value, str) else value
        return [_resolved_dataset(folder, item) if isinstance(item, str) else item for item in items]
    if key in ("strategies", "ladder") and isinstance(value, (str, list)):
        items = value if isinstance(value, list) else [value]
        found = [_resolved_strategies(folder, item) if isinstance(item, str) else item for item in items]
        return found if isinstance(value, list) else found[0]
    if not isinstance(value, str):
        return value
    is_folder = key == "data_dir" and value not in ("", "auto")
    return _relative_to(folder, value) if is_folder or (key in WRITTEN and is_grid_file(value)) else value


def _resolved_dataset(folder: Path, name: str) -> str:
    kind, colon, path = name.strip().partition(":")
    takes_path = kind in datasets and datasets[kind].takes_path
    return f"{kind}{colon}{_relative_to(folder, path)}" if takes_path and path else name


def _resolved_strategies(folder: Path, text: str) -> str:
    return STRATEGY_FILE.sub(lambda match: match[1] + _relative_to(folder, match[2]), text)


def _relative_to(folder: Path, path: str) -> str:
    return path if path.startswith("~") else str(folder / path)


def _lines(node: yaml.MappingNode, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in found:
            raise UserError(f"{name}, line {line}: {key.value} is given twice, first in line {found[key.value]}")
        found[key.value] = line
    return found


def _text(value: Any, place: str, join: Callable[[list[str]], str] = ",".join) -> str:
    """A value as typed on a command line."""
    if isinstance(value, list) and value and not any(isinstance(each, (list, dict)) for each in value):
        return join([_text(each, place) for each in value])
    if value is None or isinstance(value, (list, dict)):
        raise UserError(f"{place} is {value!r}; give a value, or a list of values")
    return str(value).lower() if isinstance(value, bool) else str(value)
