"""Reads hyperparameters from YAML, on their own or as a part of what a trainer has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.settings import TrueFalse, check_keys
from proxyflow.spaces.parameters import Categorical, Float, Int, Numeric, Parameter, conditions_of, plain, text_of

_RANGE = ("low", "high", "log", "step")
_TEXTS = ("label", "help", "group")


def read_yaml(what: str, path: str) -> Any:
    """The content of a YAML file.

    Args:
        what: the option that named the file, for messages: `grid`, `space`.

    Raises:
        UserError: no such file, no UTF-8 text, no YAML, or a key given twice.
    """
    return parse_yaml(path, read_text(what, path))


def read_text(what: str, path: str) -> str:
    """The text of a file that an option names.

    Raises:
        UserError: no such file, or no UTF-8 text.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidValue(what, path, f"no such file in {Path.cwd()}")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what}={path} cannot be read as UTF-8 text: {error}") from None


def parse_yaml(origin: str, text: str) -> Any:
    """The content of YAML.

    Args:
        origin: where the text is from, for messages.

    Raises:
        UserError: it is no YAML, or gives a key twice.
    """
    try:
        _check_keys_once(yaml.compose(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{origin} is not YAML: {yaml_problem(error)}") from None


def yaml_problem(error: Exception) -> str:
    """What is wrong with a YAML text, and in which line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _check_keys_once(root: yaml.Node | None) -> None:
    """Refuses a mapping with a key twice, of which YAML would take the last."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
            continue
        nodes += [value for _, value in node.value]
        keys: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in keys:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value} is there twice", problem_mark=key.start_mark)
            keys.add(key.value if isinstance(key.value, str) else id(key))


def entries_of(content: object, origin: str) -> dict[str, dict[str, Any]]:
    """The entries of a space's content by parameter, each as the mapping that its short form stands for."""
    if not isinstance(content, Mapping) or not content:
        raise UserError(
            f"{origin}: a space is a mapping of hyperparameters such as 'learning_rate: {{low: 0.0001, high: 0.1, "
            "log: true}' and 'optimizer: [adam, sgd]'"
        )
    return {name: _entry(entry) for name, entry in content.items()}


def _entry(entry: object) -> dict[str, Any]:
    if isinstance(entry, Mapping):
        # A key without a value is as if it were not there.
        return {key: value for key, value in entry.items() if value is not None}
    return {"choices": entry if isinstance(entry, list | tuple) else [entry]}


def parameter_of(name: str, entry: Mapping[str, Any]) -> Parameter:
    """The parameter that an entry of a space file describes; a single choice is its own default.

    Raises:
        InvalidValue: a key is unknown or breaks its rule.
    """
    check_keys(f"key of {name}", entry, ("choices", *_RANGE, "when", "default", *_TEXTS))
    common: dict[str, Any] = {key: str(entry[key]) for key in _TEXTS if key in entry}
    common |= {"default": entry.get("default"), "when": entry.get("when", {})}
    if "choices" in entry:
        found = Categorical(name, choices=_choices(name, entry), **common)
        return replace(found, default=found.choices[0]) if found.is_fixed else found
    numbers = [plain(entry[key]) for key in ("low", "high", "step", "default") if key in entry]
    kind = Int if all(isinstance(number, int) for number in numbers) else Float
    return kind(name, **_range(name, entry), **common)


def narrowed(parameter: Parameter, entry: Mapping[str, Any]) -> Parameter:
    """A trainer's parameter with the values that an entry of a space file leaves of it.

    The default stays the trainer's where the values still contain it.

    Raises:
        InvalidValue: a key is unknown or the trainer's, or a value is none of the trainer's parameter.
    """
    name = parameter.name
    for key in ("default", *_TEXTS):
        if key in entry:
            raise InvalidValue(f"{name}.{key}", entry[key], "the trainer has its own: leave the key out")
    check_keys(f"key of {name}", entry, ("choices", *_RANGE, "when"))
    when = _merged(parameter, conditions_of(name, entry.get("when", {})))
    if "choices" in entry:
        choices = tuple(parameter.parse(plain(choice)) for choice in _choices(name, entry))
        return as_categorical(parameter, choices, when)
    given = {key: entry[key] for key in _RANGE if key in entry}
    if not given:
        return replace(parameter, when=when)
    if not isinstance(parameter, Numeric):
        raise InvalidValue(name, given, f"it must be a list of values, each {parameter.accepted}")
    own = {} if "step" in given else {"step": parameter.step, "log": parameter.log}
    bounds = {"low": parameter.low, "high": parameter.high} if parameter.is_bounded else {}
    limits = _range(name, {**own, **bounds, **given})
    for key in ("low", "high"):
        parameter.parse(limits[key])
    narrow = replace(parameter, **limits, above=False, below=False, when=when, default=None)
    return _with_default(narrow, parameter.default)


def as_categorical(parameter: Parameter, choices: tuple[Any, ...], when: Mapping[str, Any]) -> Parameter:
    """The same parameter with a list of values; its default stays where it is one of them."""
    texts = {key: getattr(parameter, key) for key in ("name", *_TEXTS)}
    return _with_default(Categorical(**texts, choices=choices, when=when), parameter.default)


def _with_default(parameter: Parameter, default: Any) -> Parameter:
    return replace(parameter, default=default) if default is not None and parameter.accepts(default) else parameter


def _choices(name: str, entry: Mapping[str, Any]) -> tuple[Any, ...]:
    for key in _RANGE:
        if key in entry:
            raise InvalidValue(f"{name}.{key}", entry[key], "choices and a range exclude each other: give one of them")
    choices = entry["choices"]
    if not isinstance(choices, list | tuple):
        raise InvalidValue(f"{name}.choices", choices, "it must be a list of values")
    return tuple(choices)


def _range(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("low", "high"):
        if key not in entry:
            raise InvalidValue(f"{name}.{key}", "", "give low and high, or a list of values")
    log = TrueFalse().parse(f"{name}.log", entry.get("log", False))
    return {key: plain(entry.get(key)) for key in ("low", "high", "step")} | {"log": log}


def _merged(parameter: Parameter, when: Mapping[str, Iterable[Any]]) -> dict[str, tuple[Any, ...]]:
    """Both conditions together: a file may only make a trainer's condition stricter."""
    merged = dict(parameter.when)
    for parent, values in when.items():
        allowed = merged.get(parent)
        texts = None if allowed is None else [text_of(value) for value in allowed]
        merged[parent] = tuple(value for value in values if texts is None or text_of(value) in texts)
        if not merged[parent]:
            raise InvalidValue(f"{parameter.name}.when", parent, f"the trainer has it only where {parameter.condition}")
    return merged
