"""`proxyflow.search`: the best configuration for a function in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from proxyflow.api_training import data_of, joined, open_context, tolerance_of, trainer_of, whole
from proxyflow.core.settings import Choice, Number
from proxyflow.proxies import parse_proxies
from proxyflow.searching.candidates import CANDIDATES, candidates_of
from proxyflow.searching.ladder import Ladder
from proxyflow.searching.samplers import samplers
from proxyflow.studies.executors import executors
from proxyflow.studies.ladders import default_ladder


@dataclass(frozen=True, eq=False, repr=False)
class Best:
    """What `proxyflow.search` returns.

    Attributes:
        configuration: The best configuration.
        value: Its value on the full data, as far as is known; `low` and `high` are the ends of a 95 % interval.
        within_tolerance: The probability that no candidate is better by more than the tolerance; None without one.
        spent: What the search cost, in full trainings.
        ended: Why it ended.
        trials: One row per training, in the order in which they ended, with a column `config.NAME` for each
            hyperparameter.
        summary: All of this in a few lines.
    """

    configuration: dict[str, Any]
    value: float
    low: float
    high: float
    within_tolerance: float | None
    spent: float
    ended: str
    trials: pd.DataFrame
    summary: str

    def __repr__(self) -> str:
        return self.summary


def log(low: float, high: float) -> dict[str, Any]:
    """A range whose values are spread evenly over magnitudes, for `search` and in spaces.

    Examples:
        >>> log(1e-4, 1e-1)
        {'low': 0.0001, 'high': 0.1, 'log': True}
    """
    return {"low": low, "high": high, "log": True}


def search(
    train: Callable[[Any], Any],
    *,
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path,
    labels: Any = None,
    dataset: str | None = None,
    ladder: str | Sequence[str] = "auto",
    budget: float = 8,
    tolerance: float | None = 0.5,
    confirm: int = 3,
    candidates: int = CANDIDATES,
    sampler: str | None = "near",
    memory: str = "auto",
    epochs: int = 1,
    seed: int = 0,
    metric: str = "valid_accuracy",
    goal: str = "auto",
    aggregate: str = "best",
    share: bool | str = "auto",
    ids: Any = None,
    groups: Any = None,
    split: Any = None,
    columns: Any = None,
    valid_examples: int | str = "auto",
    name: str = "search",
) -> Best:
    """Finds the best configuration for a function, on cheap proxies and the full data; see docs/how-to/search.md.

    Trainings run one after the other in this process, and are runs of MLflow's current tracking server. The same call
    goes on where an earlier one ended.

    Args:
        train: `def train(job)`; see `proxyflow.trainers.function.job.FunctionJob` for what a job offers.
        space: Ranges and values by hyperparameter, `{"lr": pf.log(1e-4, 1e-1), "width": [16, 32, 64]}`; a list of
            configurations; or the path of a YAML file with either.
        labels: `(n,)` the class of each example, as for `proxyflow.study`; with `ids`, `groups`, `split` and `columns`.
        dataset: The name of a data set instead of labels, as on the command line.
        ladder: Proxies from cheap to expensive, the last one `full`.
        budget: In full trainings.
        tolerance: Points (per cent of the spread of values, for metrics that are no shares) within which the best is
            good enough; None uses the whole budget.
        confirm: The most seeds of a configuration on the full data.
        candidates: How many configurations to draw from a space with ranges.
        sampler: What proposes more of a space with ranges while the search runs, see docs/how-to/search.md; None for
            the candidates alone.
        memory: Earlier studies of the same function to learn from: `auto`, `none`, or names separated by commas.
        epochs: Passes over the training examples on the full data.
        seed: The first of the trainings' seeds.
        metric: The name under which the function reports its metric, by which configurations are compared.
        goal: `maximize`, `minimize`, or `auto`, which goes by the metric's name.
        aggregate: Which epoch's value is the result of a training, `best` or `last`.
        share: Whether the metric is a share of the validation examples from 0 to 1; `auto` is true for an accuracy.
        valid_examples: How many examples validate where `split` does not say so.
        name: The study, an MLflow experiment.

    Raises:
        InvalidValue: An argument breaks its rule.
        UserError: The data do not support a rung, or the tracking server does not respond.
        TrainingFailed: The first trainings all failed.

    Examples:
        >>> import proxyflow as pf
        >>> def train(job):
        ...     for epoch in range(1, job.epochs + 1):
        ...         job.report(epoch=epoch, valid_loss=(job.config["lr"] - 0.01) ** 2 + 1 / len(job.train))
        >>> best = pf.search(  # doctest: +SKIP
        ...     train, space={"lr": pf.log(1e-4, 1e-1)}, labels=["cat", "dog"] * 500, metric="valid_loss", budget=4
        ... )
        >>> best.configuration  # doctest: +SKIP
        {'lr': 0.0103}
    """
    from proxyflow.reporting.search_page import write_outcome  # imports mlflow, as the next ones
    from proxyflow.studies.memories import find_memories
    from proxyflow.studies.scheduler import ExecutionOptions
    from proxyflow.studies.search import run_search
    from proxyflow.studies.search_files import summary_lines, trial_table
    from proxyflow.studies.search_trials import SearchSpec

    trainer = trainer_of(train, metric, goal, aggregate, share)
    data = data_of(labels, dataset, valid_examples, columns=columns, split=split, groups=groups, ids=ids)
    epochs = whole("epochs", epochs, low=1)
    chosen = candidates_of(space, whole("candidates", candidates, low=2), seed)
    if sampler is not None:
        Choice(samplers).parse("sampler", sampler)
    text = joined(ladder)
    rungs = default_ladder(trainer, chosen.space, epochs) if text == "auto" else parse_proxies(text)
    Ladder.of(rungs, [1.0] * len(rungs))  # refuses one that does not end in full
    spec = SearchSpec(
        dataset=data.name,
        trainer=trainer,
        space=chosen.space,
        candidates=chosen.grid,
        sampler=sampler if chosen.is_drawn else None,
        ladder=rungs,
        epochs=epochs,
        budget=float(Number(low=1, example="8").parse("budget", budget)),
        tolerance=None if tolerance is None else tolerance_of(tolerance),
        confirm=whole("confirm", confirm, low=1),
        seed=whole("seed", seed, low=0),
        memory=memory,
    )
    context = open_context(name, data, trainer, chosen.grid)
    memories = find_memories(context, spec, memory)
    found = run_search(context, spec, ExecutionOptions(executors["local"]), write_outcome(name), memories)
    knowledge = found.knowledge
    within = None if spec.tolerance is None else 1 - knowledge.chance_of_better(knowledge.recommended, spec.tolerance)
    trials = _with_hyperparameters(trial_table(found).drop(columns="reason"))
    summary = "\n".join(summary_lines(found))
    return Best(
        dict(found.best), *knowledge.value_of(knowledge.recommended), within, found.spent, found.ended, trials, summary
    )


def _with_hyperparameters(trials: pd.DataFrame) -> pd.DataFrame:
    """The trainings with a column for each hyperparameter, as those of `study` have, after the configuration's name."""
    values = pd.DataFrame([json.loads(text) for text in trials["config_json"]], index=trials.index)
    place = list(trials.columns).index("config") + 1
    return pd.concat([trials.iloc[:, :place], values.add_prefix("config."), trials.iloc[:, place:]], axis=1)
