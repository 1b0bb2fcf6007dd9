"""`proxyflow.check`: whether tuning a function in this process on a proxy is safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from proxyflow.api_training import data_of, joined, open_context, tolerance_of, trainer_of, whole
from proxyflow.searching.candidates import candidates_of
from proxyflow.searching.safety import CANDIDATES, CONFIGURATIONS
from proxyflow.studies.executors import executors


@dataclass(frozen=True, eq=False, repr=False)
class Safety:
    """What `proxyflow.check` returns.

    Attributes:
        table: One row per proxy, the cheapest first and the target last: `proxy`, `cost` in full trainings, `time`
            relative to a full training's, the expected `loss` with the ends `low` and `high` of its 95 % interval, how
            much `more` that is than the target's (`more_low`, `more_high`), what was `seen` to be lost among the
            configurations that were trained, how many trainings `learned_nothing`, and whether it is `safe`.
        unit: Of losses: `points`, or in what metric.
        verdict: A sentence for each proxy that was asked about.
        cheapest_safe: The cheapest proxy on which tuning is safe; None if none is shown to be.
        summary: All of this in a few lines.
    """

    table: pd.DataFrame
    unit: str
    verdict: tuple[str, ...]
    cheapest_safe: str | None
    summary: str

    def __repr__(self) -> str:
        return self.summary


def check(
    train: Callable[[Any], Any],
    *,
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path,
    labels: Any = None,
    dataset: str | None = None,
    strategies: str | Sequence[str] = "random:0.1",
    alternatives: bool = True,
    configurations: int = CONFIGURATIONS,
    tolerance: float = 0.5,
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
    name: str = "check",
) -> Safety:
    """Says whether tuning a function on a proxy is safe; see docs/how-to/search.md.

    Trains a few configurations on the proxy and on everything, one after the other in this process, as runs of MLflow's
    current tracking server. Those that have finished are not repeated.

    Args:
        train: `def train(job)`, as for `proxyflow.search`, as all arguments that are not explained here.
        space: Ranges and values by hyperparameter, a list of configurations, or the path of a YAML file with either.
        labels: `(n,)` the class of each example; with `ids`, `groups`, `split` and `columns`.
        dataset: The name of a data set instead of labels, as on the command line.
        strategies: The proxies to check.
        alternatives: Whether to try other proxies as well, the rungs of a search; those that cost more than all of
            `strategies` only if nothing cheaper is safe.
        configurations: How many to train; more make the intervals narrower.
        tolerance: A proxy is safe if the whole interval of its expected loss is at most this: points, or per cent of
            the spread of values for metrics that are no shares. Losses count from the best configuration, or from what
            tuning on everything loses, where that is itself not shown to be at most this.
        memory: Earlier studies of the same function, whose best configurations are among those that are trained.
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
        UserError: The data do not support a proxy, or the tracking server does not respond.
        TrainingFailed: A training failed; the others were made, and are found by the next call.

    Examples:
        >>> import proxyflow as pf
        >>> def train(job):
        ...     for epoch in range(1, job.epochs + 1):
        ...         job.report(epoch=epoch, valid_loss=(job.config["lr"] - 0.01) ** 2 + 1 / len(job.train))
        >>> checked = pf.check(  # doctest: +SKIP
        ...     train, space={"lr": pf.log(1e-4, 1e-1)}, labels=["cat", "dog"] * 500, metric="valid_loss"
        ... )
        >>> checked.cheapest_safe  # doctest: +SKIP
        'random:0.1'
    """
    from proxyflow.studies.check import asked_proxies, ladder_of, run_check  # imports mlflow, as the next ones
    from proxyflow.studies.memories import find_memories
    from proxyflow.studies.scheduler import ExecutionOptions
    from proxyflow.studies.search_trials import SearchSpec

    trainer = trainer_of(train, metric, goal, aggregate, share)
    data = data_of(labels, dataset, valid_examples, columns=columns, split=split, groups=groups, ids=ids)
    epochs, seed = whole("epochs", epochs, low=1), whole("seed", seed, low=0)
    trained = whole("configurations", configurations, low=5)
    chosen = candidates_of(space, CANDIDATES, seed)
    asked = asked_proxies(joined(strategies), trainer, epochs)
    spec = SearchSpec(
        dataset=data.name,
        trainer=trainer,
        space=chosen.space,
        candidates=chosen.grid,
        ladder=ladder_of(asked, trainer, chosen.space, epochs, alternatives),
        epochs=epochs,
        tolerance=tolerance_of(tolerance),
        confirm=1,
        seed=seed,
        memory=memory,
    )
    context = open_context(name, data, trainer, chosen.grid)
    memories = find_memories(context, spec, memory)
    checked = run_check(context, spec, asked, trained, ExecutionOptions(executors["local"]), memories)
    safe = checked.cheapest_safe
    return Safety(
        pd.DataFrame(checked.table),
        checked.objective.unit,
        checked.sentences,
        None if safe is None else safe.proxy.canonical,
        "\n".join(checked.lines),
    )
