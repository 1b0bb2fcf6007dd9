"""Options for the trainer and its hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyflow.cli.options import NONE, F, Topic, ruled_option, settings_options, take, word_option
from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.core.settings import Number, settings_of
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.parameters import located, text_of
from proxyflow.spaces.space import Space
from proxyflow.spaces.space_file import parse_yaml, read_text
from proxyflow.trainers import FunctionTrainer, ImageTrainer, ProgramTrainer, Trainer, trainers
from proxyflow.trainers.function.source import KIND as FUNCTION
from proxyflow.trainers.function.source import split_target
from proxyflow.trainers.images.space import IMAGE_SPACE
from proxyflow.trainers.user_code import UserCodeSettings

DEFAULT_EPOCHS = 20
EPOCHS = ruled_option(
    "epochs",
    DEFAULT_EPOCHS,
    Number(low=1, whole=True, example="20"),
    "passes over the training examples",
    Topic.TRAINING,
    common=True,
)
# Hyperparameters that a sweep may set for its whole grid.
COMMON = ("batch_size", "weight_decay")
# Those that the short help explains.
MOST_CHANGED = ("arch", "learning_rate")


# The options of trainers, and the trainers that each group of them belongs to.
OPTIONS: Mapping[type, tuple[str, ...]] = {
    ImageTrainer: (ImageTrainer.name,),
    ProgramTrainer: (ProgramTrainer.name,),
    UserCodeSettings: (ProgramTrainer.name, FUNCTION),
}
USER_CODE = (ProgramTrainer, UserCodeSettings)


@dataclass(frozen=True)
class TrainerName:
    """The name of a trainer; some are followed by what they run."""

    @property
    def accepted(self) -> str:
        return "one of " + ", ".join(syntax_of_trainer(name, cls) for name, cls in trainers.items())

    def parse(self, name: str, value: object) -> str:
        kind, colon, target = str(value).partition(":")
        if kind in trainers:
            takes_target = getattr(trainers[kind], "takes_target", False)
            if takes_target:
                split_target(target)
            if takes_target or not colon:
                return str(value)
        raise UnknownName(name, value, [syntax_of_trainer(*item) for item in trainers.items()])


def syntax_of_trainer(name: str, cls: type[Trainer]) -> str:
    """How a trainer is named: `images`, or `python:MODULE:FUNCTION`."""
    return f"{name}:MODULE:FUNCTION" if getattr(cls, "takes_target", False) else name


def trainer_options(function: F) -> F:
    """The options that choose a trainer and its settings."""
    function = settings_options(*USER_CODE, topic=Topic.OWN_CODE, common=("program",))(function)
    function = settings_options(ImageTrainer, topic=Topic.TRAINING)(function)
    function = word_option(
        "trainer_settings",
        NONE,
        "Settings of a trainer of another package that differ from its defaults, separated by commas (width=64).",
        Topic.TRAINING,
    )(function)
    return ruled_option(
        "trainer",
        ImageTrainer.name,
        TrainerName(),
        "what trains (images, program, python:MODULE:FUNCTION); see Trainers below",
        Topic.TRAINING,
        common=True,
    )(function)


def take_trainer(options: dict[str, Any], folder: Path | None = None) -> Trainer:
    """Makes a trainer from the values of `trainer_options`, and removes them from the parsed options.

    Args:
        folder: where relative paths of a program count from; None is the working folder.

    Raises:
        InvalidValue: a setting is none of the trainer's, or breaks its rule.
    """
    kind, _, target = options.pop("trainer").partition(":")
    written = options.pop("trainer_settings")
    of = {owner: take(owner, options) for owner in OPTIONS}
    for owner, values in of.items():
        if kind not in OPTIONS[owner]:
            for field in settings_of(owner):
                default = field.metadata["rule"].parse(field.name, field.default)
                if values[field.name] != default:
                    belongs = " and ".join(f"trainer={name}" for name in OPTIONS[owner])
                    rule = f"it is a setting of {belongs}, and trainer={kind} is used; give trainer={OPTIONS[owner][0]}"
                    rule += f", or omit {field.name}"
                    raise InvalidValue(field.name, values[field.name], rule)
    if kind in {name for names in OPTIONS.values() for name in names}:
        if written != NONE:
            rule = f"the settings of trainer={kind} are options of the command; omit trainer_settings"
            raise InvalidValue("trainer_settings", written, rule)
        if kind == ImageTrainer.name:
            return ImageTrainer(**of[ImageTrainer])
        user_code = UserCodeSettings(**of[UserCodeSettings])
        metric, watch, place = user_code.resolve(), user_code.watch, (folder or Path()).absolute()
        if kind == FUNCTION:
            return FunctionTrainer(target, metric, watch, place)
        program = ProgramTrainer(**of[ProgramTrainer], reported=metric, watch=watch, folder=place)
        _ = program.command  # an empty one is refused here
        return program
    return _of_package(kind, written)


def _of_package(name: str, written: str) -> Trainer:
    """A trainer of another package, with the settings of the option `trainer_settings`."""
    cls = trainers[name]
    known = [field.name for field in settings_of(cls)]
    values: dict[str, str] = {}
    for part in written.split(",") if written != NONE else ():
        setting, equals, value = part.partition("=")
        if not equals or setting.strip() not in known:
            settings = f"with the settings {', '.join(known)}" if known else f"but trainer={name} has no settings"
            rule = f"it must be NAME=VALUE, separated by commas, {settings}"
            raise InvalidValue("trainer_settings", part, rule)
        values[setting.strip()] = value.strip()
    return cls(**values)


def hyperparameter_options(*only: str) -> Callable[[F], F]:
    """One option per hyperparameter of the image trainer, or for those of the given names."""

    def decorate(function: F) -> F:
        for parameter in reversed(IMAGE_SPACE.parameters):
            if not only or parameter.name in only:
                function = ruled_option(
                    parameter.name,
                    parameter.default,
                    parameter.rule,
                    parameter.help,
                    Topic.HYPERPARAMETERS,
                    common=parameter.name in MOST_CHANGED,
                )(function)
        return function

    return decorate


CONFIG = word_option(
    "config",
    NONE,
    'Hyperparameters as JSON ({"learning_rate": 0.01}) or as a YAML or JSON file, also one of a run '
    "(runs:/RUN_ID/search/best.yaml), instead of single options; required form for trainers other than images.",
    Topic.HYPERPARAMETERS,
)
CONFIG_FILES = (".yaml", ".yml", ".json")
ARTIFACT = "runs:"  # begins the URI of a run's artifact


def take_configuration(options: dict[str, Any], trainer: Trainer) -> Configuration:
    """Moves the hyperparameters out of the parsed options.

    Raises:
        InvalidValue: a value breaks its rule, or is given twice.
    """
    text = options.pop("config")
    single = {name: options.pop(name) for name in IMAGE_SPACE.names if name in options}
    changed = {name: value for name, value in single.items() if value != IMAGE_SPACE[name].default}
    if trainer.name == ImageTrainer.name and text == NONE:
        return IMAGE_SPACE.configuration(changed)  # without stems, which networks of libraries do not have
    if changed:
        name, value = next(iter(changed.items()))
        where = "config has the hyperparameters" if text != NONE else f"it is not of trainer={trainer.name}; use config"
        raise InvalidValue(name, value, f"{where}, and omit this option")
    values = _read_config(text)
    with located("config"):
        space = trainer.space if trainer.space is not None else Space.around([], values)
        return space.configuration(values)


def _read_config(text: str) -> dict[str, Any]:
    if text == NONE:
        return {}
    if text.lstrip().startswith("{"):
        content = _parse_json(text, text)
    elif (suffix := Path(text).suffix.lower()) in CONFIG_FILES:
        written = _read_artifact(text) if text.startswith(ARTIFACT) else read_text("config", text)
        content = _parse_json(text, written) if suffix == ".json" else parse_yaml(text, written)
    else:
        rule = 'it must be JSON such as {"learning_rate": 0.01}, or a .yaml or .json file or artifact (runs:/ID/PATH)'
        raise InvalidValue("config", text, rule)
    if not isinstance(content, dict):
        raise InvalidValue("config", text, "it must be a mapping of hyperparameters to values")
    return content


def _parse_json(given: str, written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError as error:
        raise InvalidValue("config", given, f"it is not JSON ({error})") from None


def _read_artifact(uri: str) -> str:
    from proxyflow.tracking.artifacts.uri import read_artifact  # imports mlflow

    return read_artifact("config", uri)


def take_common(options: dict[str, Any], trainer: Trainer, grid: Grid) -> Grid:
    """Moves hyperparameters that hold for a whole grid out of the parsed options, into its configurations.

    Raises:
        InvalidValue: the trainer has no such hyperparameter, or the grid compares values of it.
    """
    common = {name: options.pop(name) for name in COMMON}
    changed = {name: value for name, value in common.items() if value != IMAGE_SPACE[name].default}
    if changed and trainer.name != ImageTrainer.name:
        name, value = next(iter(changed.items()))
        raise InvalidValue(name, value, f"trainer={trainer.name} has its hyperparameters in the grid; omit this option")
    return with_common(grid, changed)


def with_common(grid: Grid, values: dict[str, Any]) -> Grid:
    """The grid with the same values in all configurations.

    Raises:
        InvalidValue: the grid compares values of a hyperparameter, of which one would replace all.
    """
    for name, value in values.items():
        compared = sorted({each[name] for each in grid if name in each})
        if len(compared) > 1:
            rule = f"the grid compares {name}={', '.join(map(text_of, compared))}; omit this option"
            raise InvalidValue(name, value, rule)
    return tuple(each.replace(**values) for each in grid) if values else grid


def check_request(trainer: Trainer, configurations: Grid, say: Callable[[str], None]) -> None:
    """Rejects settings that this machine does not support or that do not fit the configurations, before any run."""
    for line in trainer.check_request(configurations):
        say(line)
