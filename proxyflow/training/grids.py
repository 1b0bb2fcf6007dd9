"""Grids: which configurations a study compares, by name or from a YAML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from proxyflow.errors import InvalidValue, UserError
from proxyflow.registry import Registry
from proxyflow.settings import check_keys, settings_of
from proxyflow.training.hyperparameters import Hyperparameters

Grid = tuple[Hyperparameters, ...]

grids: Registry[Callable[[], Grid]] = Registry("grid")


@grids.register("paper")
def paper_grid() -> Grid:
    """The published 36: the default, one difference at a time (19), and learning rates under others (16)."""
    return tuple(dict.fromkeys(_paper_configurations()))


# The default network, then a shallower and a deeper one, as XResNet50, 18 and 101 are to each other.
NARROW_ARCHS = ("xresnet18-w16", "xresnet10-w16", "xresnet34-w16")


@grids.register("paper-narrow")
def paper_narrow_grid() -> Grid:
    """The published 36 with networks for a CPU in the place of the published three."""
    return tuple(dict.fromkeys(_paper_configurations(NARROW_ARCHS)))


def _paper_configurations(archs: Sequence[str] = ()) -> Iterator[Hyperparameters]:
    """The published configurations, one of them several times.

    Args:
        archs: in the place of the published ones, the default first.
    """
    values = {field.name: field.metadata["grid"] for field in settings_of(Hyperparameters)}
    values["arch"] = archs or values["arch"]
    default = Hyperparameters(arch=values["arch"][0])
    yield default
    for name in ("arch", "learning_rate"):
        for value in values[name]:
            yield dataclasses.replace(default, **{name: value})
    for first, second in product(values["stem_channels_1"], values["stem_channels_2"]):
        yield dataclasses.replace(default, stem_channels_1=first, stem_channels_2=second)
    for name in ("flip_probability", "optimizer", "label_smoothing"):
        for value in values[name]:
            yield dataclasses.replace(default, **{name: value})
    for other in ({"arch": a} for a in values["arch"]), ({"optimizer": o} for o in values["optimizer"]):
        for changed, rate in product(other, values["learning_rate"]):
            yield dataclasses.replace(default, learning_rate=rate, **changed)


# XResNet18 throughout, since a demonstration has minutes; the rest differ clearly in target accuracy.
DEMO_DIFFERENCES: tuple[dict[str, Any], ...] = (
    {},
    {"learning_rate": 0.001},
    {"learning_rate": 0.1},
    {"stem_channels_1": 4, "stem_channels_2": 4},
    {"flip_probability": 0.0},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "learning_rate": 0.001},
    {"optimizer": "rmsprop"},
)


@grids.register("demo")
def demo_grid() -> Grid:
    """Eight configurations of XResNet18 whose accuracies differ clearly after a few epochs."""
    return tuple(Hyperparameters(arch="xresnet18", **changes) for changes in DEMO_DIFFERENCES)


def load_grid(text: str) -> Grid:
    """A grid by name, or from a YAML file.

    The file is a list of configurations, each a mapping of the settings that differ from the default (`{}`
    is the default), or a mapping with `configurations` and, under `base`, settings common to all.

    Raises:
        UserError: no such grid or file, or an entry that breaks a rule; the message names the entry.
    """
    if text in grids:
        return grids[text]()
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        raise InvalidValue("grid", text, f"it must be one of {', '.join(grids)}, or the path of a .yaml file")
    if not path.is_file():
        raise InvalidValue("grid", text, f"no such file in {Path.cwd()}")
    try:
        return parse_grid(path.read_text(encoding="utf-8"), text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"grid={text} cannot be read as UTF-8 text: {error}") from None


def parse_grid(text: str, origin: str) -> Grid:
    """Reads a grid's YAML text; `origin` names it in errors."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{origin} is not YAML: {' '.join(str(error).split())}") from None
    return grid_of(content, origin)


def grid_of(content: Any, origin: str) -> Grid:
    """The grid that a YAML file's content describes, see `load_grid`; `origin` names it in errors."""
    base: dict[str, Any] = {}
    if isinstance(content, dict):
        check_keys(f"{origin}: key", content, ("base", "configurations"))
        base, content = content.get("base") or {}, content.get("configurations")
    if not isinstance(base, dict) or not isinstance(content, list) or not content:
        raise UserError(
            f"{origin}: a grid is a list of configurations such as '- learning_rate: 0.01', or a mapping with "
            "'configurations' and 'base'"
        )
    found: dict[Hyperparameters, None] = {}
    for number, changes in enumerate(content, start=1):
        where = f"{origin}: configuration {number}"
        if changes is None:
            changes = {}
        if not isinstance(changes, dict):
            raise UserError(f"{where} is {changes!r}; it must be a mapping of settings, {{}} for the default")
        check_keys(f"{where}: setting", (*base, *changes), [f.name for f in settings_of(Hyperparameters)])
        try:
            configuration = Hyperparameters(**{**base, **changes})
        except InvalidValue as error:
            raise InvalidValue(f"{where}: {error.name}", error.value, error.rule) from None
        if configuration in found:
            raise UserError(f"{where} is {configuration.name} a second time; name each configuration once")
        found[configuration] = None
    return tuple(found)
