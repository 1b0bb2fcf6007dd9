"""`proxyflow.study`: a sweep of a function in this process, from labels or a data set to a frame and a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from proxyflow.api_training import Data, data_of, joined, open_context, trainer_of, whole
from proxyflow.core.settings import Number
from proxyflow.spaces.grids import Grid, grid_of, load_grid
from proxyflow.studies.executors import executors
from proxyflow.studies.plan import StudySpec
from proxyflow.studies.presets import load_strategies
from proxyflow.trainers import Trainer

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The report of a study.

    Attributes:
        table: One row per strategy, the target first, as `proxyflow.measure` gives it.
        verdict: What the study says of its proxies, in sentences.
        page: The page, a file that works offline.
        run_id: The report's run on the tracking server.
    """

    table: pd.DataFrame
    verdict: tuple[str, ...]
    page: Path
    run_id: str

    def __repr__(self) -> str:
        return "\n".join([self.table.to_string(index=False), "", *self.verdict, f"page: {self.page}"])


class StudyResult(NamedTuple):
    """What `proxyflow.study` returns.

    Attributes:
        frame: One row per training, best objective first within each strategy.
        report: Quality of each proxy.
    """

    frame: pd.DataFrame
    report: Report


def study(
    train: Callable[[Any], Any],
    *,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | str,
    labels: Any = None,
    dataset: str | None = None,
    strategies: str | Sequence[str] = "full,random:0.25",
    epochs: int = 1,
    seeds: Sequence[int] | int = (0,),
    metric: str = "valid_accuracy",
    goal: str = "auto",
    aggregate: str = "best",
    share: bool | str = "auto",
    ids: Any = None,
    groups: Any = None,
    split: Any = None,
    columns: Any = None,
    valid_examples: int | str = "auto",
    name: str = "study",
    out: str | Path = "report",
    bootstrap: int = 1000,
) -> StudyResult:
    """Trains a function under every configuration on all data and on proxies, and measures the proxies.

    Trainings run one after the other in this process, and are runs of MLflow's current tracking server. Those that
    have finished are not repeated, also not by a later call: a training is known by its data, configuration, strategy,
    seed, epochs, metric and by the function's source.

    Args:
        train: `def train(job)`; see `proxyflow.trainers.function.job.FunctionJob` for what a job offers.
        grid: The configurations: a list of mappings, or a mapping of names to lists, of which all combinations are
            compared; or a file, `"grid.yaml"` or `"space.yaml@36"`.
        labels: `(n,)` the class of each example, in the order of the user's own data, which `job.train.of` selects
            from. With `ids`, `groups`, `split` (`train` or `valid`) and `columns`, each of `n` values, where they
            matter; see docs/how-to/data.md.
        dataset: The name of a data set instead of labels, as on the command line: `digits`, `table:reviews.csv`.
        strategies: The proxies; `full`, the target, should be one of them.
        epochs: Passes over the training examples on the target.
        seeds: One or several; every training is repeated for each.
        metric: The name under which the function reports its metric, by which configurations are compared.
        goal: `maximize`, `minimize`, or `auto`, which goes by the metric's name.
        aggregate: Which epoch's value is the result of a training, `best` or `last`.
        share: Whether the metric is a share of the validation examples from 0 to 1; `auto` is true for an accuracy.
        valid_examples: How many examples validate where `split` does not say so.
        name: The study, an MLflow experiment.
        out: Folder for the report's page, figures and tables.
        bootstrap: Samples for the intervals.

    Returns:
        The trainings and the report.

    Raises:
        InvalidValue: An argument breaks its rule.
        UserError: The data do not support a strategy, or the tracking server does not respond.
        TrainingFailed: A training failed; the others were made, and are found by the next call.

    Examples:
        >>> import proxyflow as pf
        >>> def train(job):
        ...     for epoch in range(1, job.epochs + 1):
        ...         job.report(epoch=epoch, valid_loss=job.config["width"] / len(job.train))
        >>> frame, report = pf.study(  # doctest: +SKIP
        ...     train, labels=["cat", "dog"] * 500, grid={"width": [16, 32]}, metric="valid_loss"
        ... )
    """
    trainer = trainer_of(train, metric, goal, aggregate, share)
    data = data_of(labels, dataset, valid_examples, columns=columns, split=split, groups=groups, ids=ids)
    spec = StudySpec(
        datasets=(data.name,),
        strategies=load_strategies(joined(strategies)),
        grid=configurations_of(grid, trainer),
        trainer=trainer,
        epochs=whole("epochs", epochs, low=1),
        seeds=_seeds(seeds),
    )
    return _run(spec, data, name, str(out), bootstrap)


def _seeds(seeds: Sequence[int] | int) -> tuple[int, ...]:
    rule = Number(low=0, high=2**31, whole=True, example="0")
    return tuple(int(rule.parse("seeds", seed)) for seed in ([seeds] if isinstance(seeds, int) else seeds))


def configurations_of(grid: Any, trainer: Trainer) -> Grid:
    """The configurations of a study.

    Args:
        grid: As `study` takes it.

    Raises:
        InvalidValue: It is of another form.

    Examples:
        >>> from proxyflow.trainers import FunctionTrainer
        >>> trainer = FunctionTrainer("mine:train")
        >>> [each.name for each in configurations_of({"lr": [0.1, 0.2], "width": 16}, trainer)]
        ['lr=0.1,width=16', 'lr=0.2,width=16']
    """
    if isinstance(grid, str | Path):
        return load_grid(str(grid), trainer.space, trainer.grids)
    if isinstance(grid, Mapping):
        lists = {name: list(values) if _is_list(values) else values for name, values in grid.items()}
        return grid_of(lists, "grid", trainer.space)
    return grid_of([dict(each) for each in grid], "grid", trainer.space)


def _is_list(values: object) -> bool:
    return not isinstance(values, str | Mapping) and hasattr(values, "__iter__")


def _run(spec: StudySpec, data: Data, name: str, out: str, bootstrap: int) -> StudyResult:
    from proxyflow.reporting.run import ReportOptions, check_out, make_report  # imports mlflow, as the next ones
    from proxyflow.studies.scheduler import ExecutionOptions
    from proxyflow.studies.study import run_study
    from proxyflow.tracking.names import check_study_name

    check_study_name(name)
    check_out(out, name)
    context = open_context(name, data, spec.trainer, spec.grid)
    run_study(context, spec, ExecutionOptions(executors["local"]))
    report = make_report(context.client, context.writer, ReportOptions(out=out, bootstrap=bootstrap))
    table = report.quality.strategies.copy()
    return StudyResult(
        _frame_of(context, spec),
        Report(
            table,
            (*report.quality.verdict.sentences, *report.quality.verdict.proxies),
            report.page.absolute(),
            report.run_id,
        ),
    )


def _frame_of(context: StudyContext, spec: StudySpec) -> pd.DataFrame:
    """The study's finished trainings, with a column for each hyperparameter."""
    from proxyflow.tracking.connection import experiment_ids  # imports mlflow, as the next one
    from proxyflow.tracking.queries.reader import trainings

    found = trainings(context.client, experiment_ids(context.client, context.writer.study))
    found = found[found["status"] == "finished"]
    hyperparameters = pd.DataFrame(
        [dict(each) for each in map(_mapping, found["config_json"])], index=found.index
    ).add_prefix("config.")
    sign = spec.trainer.metric.sign
    order = (-sign * found["objective"]).rename("order")
    return (
        found.join(hyperparameters)
        .assign(_order=order)
        .sort_values(["dataset", "strategy", "_order"], kind="stable")
        .drop(columns="_order")
        .reset_index(drop=True)
    )


def _mapping(text: str) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}
