"""What the functions of the package that train in this process share: the trainer, the data and the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Number
from proxyflow.data.catalog import DataOptions, Dataset, canonical_name, dataset_of
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.table.contents import contents_of
from proxyflow.spaces.grids import Grid
from proxyflow.trainers import FunctionTrainer, Trainer
from proxyflow.trainers.function.source import check_signature
from proxyflow.trainers.user_code import UserCodeSettings

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext

LABELS = "labels"  # the data set's name where only labels are given


@dataclass(frozen=True, eq=False)
class Data:
    """What a function in this process trains on.

    Attributes:
        name: Of the data set.
        options: How it is read and split.
        made: The data set, where it is made of labels; else it is read by its name.
    """

    name: str
    options: DataOptions
    made: Dataset | None


def data_of(
    labels: Any,
    dataset: str | None,
    valid_examples: int | str,
    *,
    columns: Any = None,
    split: Any = None,
    groups: Any = None,
    ids: Any = None,
) -> Data:
    """The data set of labels, or of a name; arguments as of `study`.

    Raises:
        InvalidValue: Both are given, or neither.
    """
    if (labels is None) == (dataset is None):
        raise InvalidValue("labels", labels, "give either labels or dataset")
    options = DataOptions(evaluation=EvaluationSettings(valid_examples))  # type: ignore[arg-type]
    if dataset is not None:
        return Data(canonical_name(dataset), options, None)
    return Data(LABELS, options, dataset_of(LABELS, contents_of(labels, columns, split, groups, ids), options))


def trainer_of(
    train: Callable[[Any], Any], metric: str, goal: str, aggregate: str, share: bool | str
) -> FunctionTrainer:
    """The trainer of a function in this process.

    Raises:
        InvalidValue: It cannot be called with a job, or the metric breaks a rule.
    """
    check_signature(train, "train")
    target = f"{getattr(train, '__module__', '?')}:{getattr(train, '__qualname__', type(train).__qualname__)}"
    settings = UserCodeSettings(metric, goal, aggregate, share)  # type: ignore[arg-type]
    return FunctionTrainer(target, settings.resolve(), folder=Path.cwd(), function=train)


def open_context(name: str, data: Data, trainer: Trainer, grid: Grid) -> StudyContext:
    """Opens a study on MLflow's current tracking server, and says what the trainer has to say of its configurations.

    Raises:
        InvalidValue: No experiment can have the name.
    """
    from proxyflow.studies.context import StudyContext  # imports mlflow, as the next ones
    from proxyflow.tracking.connection import connect
    from proxyflow.tracking.names import check_study_name
    from proxyflow.tracking.runs.writer import RunWriter

    check_study_name(name)
    client = connect()
    writer = RunWriter(client, name)
    writer.recovery.deliver()
    context = StudyContext(client, writer, data=data.options)
    if data.made is not None:
        context.datasets[data.made.name] = data.made
    for line in trainer.check_request(grid):
        context.say(line)
    return context


def joined(names: str | Sequence[str]) -> str:
    """A list of proxies as one text, as on the command line."""
    return names if isinstance(names, str) else " ".join(names)


def whole(name: str, value: object, low: int) -> int:
    """An argument that is a whole number.

    Raises:
        InvalidValue: It is another value, or below `low`.
    """
    return int(Number(low=low, whole=True, example=str(low)).parse(name, value))


def tolerance_of(value: object) -> float:
    """The argument `tolerance`.

    Raises:
        InvalidValue: It is no number from 0 to 100.
    """
    return float(Number(low=0, high=100, example="0.5").parse("tolerance", value))
