"""The tracking schema: every tag, metric and artifact path that users and other programs rely on.

Also the limits of stores: `shorten` shortens every name that is too long for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from proxyflow.core.errors import UNPRINTABLE, InvalidValue
from proxyflow.core.files import digest
from proxyflow.core.platform import colons_in_names

SCHEMA_VERSION = "2"
STUDY_FILES = (".yaml", ".yml")  # endings of study files, in any case

Kind = Literal["study", "search", "score", "subset", "distillation", "training", "report"]
Status = Literal["running", "finished", "failed", "interrupted"]

# tags
PREFIX = "proxyflow."
KIND = "proxyflow.kind"
VERSION = "proxyflow.schema_version"
STATUS = "proxyflow.status"
ERROR = "proxyflow.error"
STUDY = "proxyflow.study"
DATASET = "proxyflow.dataset"
DATASET_FINGERPRINT = "proxyflow.dataset_fingerprint"
STRATEGY = "proxyflow.strategy"
CONFIG = "proxyflow.config"
CONFIG_GROUP = "proxyflow.config_group"
CONFIG_JSON = "proxyflow.config_json"
TRAINER = "proxyflow.trainer"
METRIC = "proxyflow.metric"
GOAL = "proxyflow.goal"
METRIC_JSON = "proxyflow.metric_json"
SEED = "proxyflow.seed"
EPOCHS = "proxyflow.epochs"
SUBSET_FINGERPRINT = "proxyflow.subset_fingerprint"
SUBSET_RUN = "proxyflow.subset_run"
SCORE_RUN = "proxyflow.score_run"
RUN_KEY = "proxyflow.run_key"
SCORE_NAMES = "proxyflow.scores"
DIVERGED = "proxyflow.diverged"
CURVES = "proxyflow.curves"
OWNER = "proxyflow.owner"
HEARTBEAT = "proxyflow.heartbeat"
LAUNCHED = "proxyflow.launched"
GIT_DIRTY = "proxyflow.git_dirty"
RESUMED_FROM = "proxyflow.resumed_from"
REASON = "proxyflow.reason"
MEMORIES = "proxyflow.memories"

# Followed by the digest in a shortened name; the tag has the full name.
FULL_VALUE = "proxyflow.whole."

# Tags with their meanings.
TAGS = {
    KIND: "`study`, `search`, `score`, `subset`, `distillation`, `training` or `report`",
    VERSION: "version of these tags and metrics",
    STATUS: "true status: `running`, `finished`, `failed` or `interrupted`",
    ERROR: "why the run failed",
    STUDY: "name of the study",
    DATASET: "data set, in canonical spelling",
    STRATEGY: "strategy with its reductions, in canonical spelling",
    CONFIG: "name of the configuration: its differences from the default",
    CONFIG_GROUP: "the group of its first difference from the default, such as `learning rate`; else `other`",
    SEED: "root of all random streams",
    EPOCHS: "epochs that were asked for",
    CONFIG_JSON: "the configuration as a JSON object, defaults included",
    TRAINER: "the trainer's name: `images`, `program`, `python:MODULE:FUNCTION`",
    METRIC: "the trainer's metric, such as `valid_accuracy`",
    GOAL: "`maximize` or `minimize`",
    METRIC_JSON: "the metric as a JSON object: also which epoch counts (`best` or `last`), and whether it is a share "
    "of examples",
    DIVERGED: "`true` where the loss became infinite or not a number, which is a valid result",
    CURVES: "the metric, `valid_loss`, `train_loss` and `epoch_seconds` of every epoch as JSON, where they fit into "
    "5,000 characters (about 60 epochs): the same values as the metrics, so that a report reads thousands of runs in "
    "one search",
    SUBSET_RUN: "id of the run that made a training's subset",
    SCORE_RUN: "id of the run that made the scores of a training's subset",
    SCORE_NAMES: "of a score run: the scores that it has",
    DATASET_FINGERPRINT: "SHA-256 of the content of the data set",
    SUBSET_FINGERPRINT: "SHA-256 of the content of the subset",
    RUN_KEY: "digest of everything that determines the result: runs with the same key have the same result",
    RESUMED_FROM: "the interrupted run whose checkpoint a training continued",
    REASON: "JSON: why a search started a training, on which rung, and the gain that it expected",
    MEMORIES: "of a search: the memories that it uses, as a JSON list; a search that resumes keeps them",
    LAUNCHED: "of a run that `mlflow run` created: the run that has its work",
    OWNER: "the process that writes the run",
    HEARTBEAT: "the time of its last sign of life",
    GIT_DIRTY: "whether the code differed from the commit that MLflow tags",
    FULL_VALUE: "followed by a digest: the full value of what is shortened elsewhere in the run, with `...DIGEST...` "
    "in its middle; `.2` and so on follow where it is longer than one tag",
}

DESCRIPTION = "mlflow.note.content"
PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"

# The metric by which proxies and the target are compared.
OBJECTIVE = "objective"
# The objective of a model that has learned nothing.
CHANCE = "chance_objective"

# Metrics with their meanings.
# of every training, at its end; NAME is the trainer's metric, of the tag METRIC
RESULT_METRICS = {
    OBJECTIVE: "the trainer's metric, aggregated as its tag `proxyflow.metric_json` says (best or last epoch): the "
    "result by which proxies and the target are compared",
    "best_NAME": "the best value of the metric after any epoch",
    "final_NAME": "the metric after the last epoch",
    CHANCE: "the objective of a model that predicts the most frequent class for every validation example; only where "
    "the metric is a share",
}
# of a training by the image trainer, and of the first model of a score run: once per epoch
EPOCH_METRICS = {
    "train_loss": "mean loss of the epoch's training examples, in nats: cross-entropy, labels smoothed as configured",
    "valid_loss": "the same loss on the validation images after the epoch, in nats",
    "valid_accuracy": "share of the validation images that are classified correctly after the epoch, 0 to 1",
    "epoch_seconds": "seconds of the epoch, training and validation",
}
# of a training by the image trainer, at its end
RUN_METRICS = {
    "best_valid_accuracy": "the best `valid_accuracy` of any epoch, which is the objective",
    "final_valid_accuracy": "`valid_accuracy` after the last epoch; 0 after a training that diverged",
    "test_accuracy": "share of the test images that are classified correctly after the last epoch, 0 to 1; 0 after a "
    "training that diverged; only with `test_examples`",
    "best_epoch": "the first epoch with the best value of the metric, from 1; 0 where none was finished",
    "train_seconds": "seconds of training and validation, without set-up and logging: the cost that reports compare",
    "valid_seconds": "the part of `train_seconds` for validation",
    "setup_seconds": "seconds of building the network and copying the data to the device",
    "wall_seconds": "seconds from the beginning of the training to its end",
    "steps": "optimizer steps",
    "examples_seen": "training examples passed through the network, including repeats",
    "train_flops": "floating-point operations of `examples_seen`, forward and backward",
    "examples_per_second": "`examples_seen` / `train_seconds`",
    "peak_memory_mb": "peak memory in MB of 2^20 bytes: of the GPU, or of the process on a CPU",
    "skipped_steps": "steps that the loss scaling of fp16 skipped, not in `steps`; only with fp16",
    "cost_usd": "US dollars of `wall_seconds`, where `price_per_hour` was given",
}
SHARES = ("best_valid_accuracy", "final_valid_accuracy", "test_accuracy")  # 0 to 1
# of a subset and every training on it: the cost of choosing the examples, in the units of trainings
SELECTION_METRICS = {
    "selection_train_seconds": "`train_seconds` of the scoring models that chose the examples, and of applying them",
    "selection_examples_seen": "`examples_seen` of the scoring models",
    "selection_train_flops": "`train_flops` of the scoring models",
}
SCORE_METRICS = {
    "scoring_seconds": "seconds of applying the trained models to the examples and of computing the scores",
    "agreement_SCORE": "mean Spearman correlation of a score between repeats, -1 to 1; only with `repeats`",
}
DISTILLATION_METRICS = {
    "loss": "the method's loss, averaged over a hundredth of its iterations; the step is the iteration",
    "estimated_memory_mb": "the estimated memory of the method, in MB of 2^20 bytes",
}
SUBSET_METRICS = {
    "n_train": "training examples of the subset",
    "fraction": "their share of the data set's training examples, 0 to 1",
    "smallest_class": "training examples of the smallest class",
    "largest_class": "training examples of the largest class",
}
# of a study, updated while it runs
STUDY_METRICS = {
    "runs_planned": "planned trainings",
    "runs_finished": "finished trainings",
    "runs_failed": "trainings that have failed after all retries",
    "hours": "hours since the sweep began",
    "hours_left": "estimated hours that remain",
    "cost_usd": "US dollars of `hours`, where `price_per_hour` was given",
}
SEARCH_METRICS = {
    "best_value": "the value of the best configuration on the full data, as it is believed at the end",
    "best_value_low": "the lower end of its 95 % interval",
    "best_value_high": "the upper end of its 95 % interval",
    "spent": "what the search's trainings cost, in full trainings",
    "trainings": "trainings that this command finished",
}
REPORT_METRICS = {
    "MEASURE/STRATEGY": "a quality measure of a strategy, as `r2/easiest:0.1`; the page of quality measures has them",
    "ceiling_SOURCE/MEASURE": "the best value that noise permits, likewise",
    "trainings": "trainings in the report",
    "missing_pairs": "pairs with one side missing",
}
# of studies, score runs and trainings, where enabled
SYSTEM_METRICS = {
    "system/NAME": "utilization of the machine, as MLflow measures it; the names end in their units",
}

# artifact folders and files
SCORES = "scores"
SUBSET = "subset"
SEARCH = "search"
REPORT = "report"
WEIGHTS = "weights"
DISTILLATION = "distillation"
CHECKPOINT = "checkpoint"

# Lengths in characters that every store accepts. MLflow checks some of them; others are those of its tables, which
# PostgreSQL and MySQL enforce, and SQLite does not. MLflow 3.17 permits longer params and tags than older servers.
KEY_LENGTH = 250  # of a metric, param or tag
RUN_NAME_LENGTH = 250
STUDY_LENGTH = 256  # an experiment's name
INPUT_LENGTH = 500  # a data set's name as a run's input
PARAM_LENGTH = 500  # a param's value; MLflow 3.17 accepts 6,000
TAG_LENGTH = 5000  # a tag's value; MLflow 3.17 accepts 8,000
STRATEGY_LENGTH = 150  # in a metric's name, so that all metrics of a strategy name it identically
FILE_BYTES = 200  # of a file's name; file systems accept 255, and temporary names are longer

_DIGEST_LENGTH = 12
_FORBIDDEN_IN_METRIC_NAMES = re.compile(r"[^\w.\- :]")


def shorten(text: str, longest: int, size: Callable[[str], int] = len) -> str:
    """The text, or its beginning and end with a digest of the whole between them where it is too long.

    Args:
        longest: the largest size, 24 at least.
        size: of a text, in characters, or in bytes for a file's name (`utf8_length`).
    """
    if size(text) <= longest:
        return text
    middle = f"...{_digest(text)}..."
    head, tail = text[:longest], text[-(longest // 4) :]
    while size(tail) > longest // 4:
        tail = tail[1:]
    while size(head + middle + tail) > longest:
        head = head[:-1]
    return head + middle + tail


def utf8_length(text: str) -> int:
    """The bytes of a text in a file's name."""
    return len(text.encode("utf-8", "surrogateescape"))


def full_value_tags(text: str, longest: int) -> dict[str, str]:
    """Tags with the full text of what `shorten` shortens, in pieces where it is longer than one tag."""
    if len(text) <= longest:
        return {}
    pieces = [text[begin : begin + TAG_LENGTH] for begin in range(0, len(text), TAG_LENGTH)]
    key = f"{FULL_VALUE}{_digest(text)}"
    return {key if number == 1 else f"{key}.{number}": piece for number, piece in enumerate(pieces, start=1)}


def metric_key(name: str) -> str:
    """The name of a user's metric as every store accepts it: `top-5 (val)` is `top-5 -val-`.

    Example:
        >>> metric_key("eval//top-5 @1"), metric_key("../loss"), metric_key("")
        ('eval/top-5 -1', 'loss', '-')
    """
    parts = (_FORBIDDEN_IN_METRIC_NAMES.sub("-", part) for part in name.split("/"))
    return shorten("/".join(part for part in parts if part.strip(".")) or "-", KEY_LENGTH)


def quality_metric_name(measure: str, strategy: str) -> str:
    """The metric of a strategy's quality measure, as `r2/easiest:0.1`.

    MLflow accepts neither commas nor equals signs in a metric's name: `hardest:0.5,drop=0.05` is
    `hardest:0.5 drop-0.05`. Other forbidden characters occur only in strategies of plug-ins and other versions.
    """
    part = _FORBIDDEN_IN_METRIC_NAMES.sub("-", shorten(strategy, STRATEGY_LENGTH).replace(",", " "))
    if not colons_in_names():
        part = part.replace(":", "-")
    # MLflow resolves names as paths, and accepts only those that stay the same.
    return shorten(f"{measure}/{part if part.strip('.') else '-' * (len(part) + 1)}", KEY_LENGTH)


def _digest(text: str) -> str:
    return digest(text)[:_DIGEST_LENGTH]


def is_study_file(name: str) -> bool:
    """Whether the name of a study is that of a study file."""
    return name.lower().endswith(STUDY_FILES)


def check_study_name(name: str) -> None:
    """Checks the name of a study, before any work is done for it.

    Raises:
        InvalidValue: MLflow's search or a terminal cannot handle it, or it names a study file.
    """
    if not name.strip() or name != name.strip():
        raise InvalidValue("study", name, "a name is not empty, and neither begins nor ends with a space")
    if "'" in name:
        raise InvalidValue("study", name, "MLflow's search cannot take a single quote ('); use another name")
    if UNPRINTABLE.search(name):
        raise InvalidValue("study", name, "a name has no control characters and is UTF-8; use another name")
    if is_study_file(name):
        raise InvalidValue("study", name, "only sweep reads a study file; give the study's name, without .yaml")
