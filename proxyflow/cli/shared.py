"""Options that several commands have, declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxyflow.cli.options import (
    AUTO,
    NONE,
    F,
    Topic,
    parse_list,
    ruled_option,
    settings_options,
    switch,
    take,
    text_option,
    word_option,
)
from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Number, OptionalValue, TrueFalse, settings_of
from proxyflow.data.catalog import DATA_VARIABLE, DataOptions, canonical_name
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.name_lists import comma_hint, split_names
from proxyflow.studies.plan import LATEST


def study_option(more: str = "") -> Callable[[F], F]:
    """The option `--study`; `more` ends the first sentence of its help."""
    return word_option(
        "study",
        AUTO,
        f"Name of the study, which is an MLflow experiment{more}. auto is MLflow's active experiment "
        "(mlflow run --experiment-name, or MLFLOW_EXPERIMENT_NAME; else Default).",
        Topic.TRACKING,
        common=True,
    )


STUDY = study_option()
DATASET = text_option(
    "dataset",
    "digits",
    "Data set, such as cifar10 or folder:my/pets; NAME@N is a fixed part of it with N training examples; see "
    "Data sets below.",
    Topic.DATA,
    common=True,
)


def strategy_option(default: str) -> Callable[[F], F]:
    """The option `--strategy`."""
    return text_option(
        "strategy",
        default,
        "Strategy that selects the examples to train on, such as random:0.1 or easiest:0.25; see Strategies below.",
        Topic.PROXIES,
        common=True,
    )


SCORES = word_option(
    "scores",
    LATEST,
    "For strategies that need scores: id of a score run; or latest, the newest score run of this data set that has "
    "what the strategy needs (made if there is none and the trainer gives access to its models).",
    Topic.PROXIES,
)
SEED_RULE = Number(low=0, high=2**31, whole=True, example="0")
SEED = ruled_option("seed", 0, SEED_RULE, "root of all random streams", Topic.TRAINING)
PRICE = ruled_option(
    "price_per_hour",
    NONE,
    OptionalValue(Number(low=0, example="2.50"), NONE),
    "price in US dollars per hour of all machines used; enables the metric cost_usd",
    Topic.EXECUTION,
)
SYSTEM_METRICS = ruled_option(
    "system_metrics",
    AUTO,
    OptionalValue(TrueFalse(), AUTO),
    "log utilization of processors, memory, disk, network and GPUs during the run; auto is MLflow's variable "
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING, else false",
    Topic.TRACKING,
)
SAVE_MODEL_AS, LOG_MODEL_AS = "as safetensors with a JSON description", "as an MLflow model that mlflow.pyfunc loads"


def data_options(function: F) -> F:
    """Options for the location of data sets, for unusable files, and for validation and test examples."""
    function = settings_options(EvaluationSettings, topic=Topic.DATA)(function)
    function = switch(
        "skip_bad", "leave out and count image files that cannot be used, instead of exiting with an error", Topic.DATA
    )(function)
    return word_option(
        "data_dir",
        AUTO,
        "Folder that data sets are read from and downloaded to. auto: the environment variable "
        f"{DATA_VARIABLE}, else ~/.cache/proxyflow.",
        Topic.DATA,
        metavar="FOLDER",
    )(function)


DATA_OPTIONS = ("data_dir", "skip_bad", *(field.name for field in settings_of(EvaluationSettings)))


def take_data_options(options: dict[str, Any], image_size: int | None = None) -> DataOptions:
    """Moves the values of `data_options` out of the parsed options.

    Args:
        image_size: the largest side that the command trains at; None is the data set's own.
    """
    data_dir = options.pop("data_dir")
    evaluation = EvaluationSettings(**take(EvaluationSettings, options))
    folder = None if data_dir == AUTO else Path(data_dir)
    return DataOptions(folder, options.pop("skip_bad"), image_size, evaluation)


def parse_datasets(text: str) -> tuple[str, ...]:
    """Data sets separated by commas, checked against the catalog before anything else happens."""
    # A path may hold spaces, names hold none.
    names = split_names("datasets", text) if ":" in text or '"' in text else parse_list("datasets", text)
    if not names:
        raise InvalidValue("datasets", text, "give at least one, separated by commas")
    try:
        return tuple(dict.fromkeys(map(canonical_name, names)))
    except InvalidValue as error:
        if hint := comma_hint(text):
            raise InvalidValue(error.name, error.value, f"{error.rule}{hint}") from None
        raise
