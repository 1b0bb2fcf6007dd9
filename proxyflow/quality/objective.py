"""What trainings are compared by: one metric for the whole study, with its sign turned so that more is better.

The statistics see `value`, which is to be maximized and of a size of about 1. Tables show `objective`, the metric's own
values, and losses such as regret in points for shares, else in the metric's own unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import pandas as pd

from proxyflow.quality.measures import Good
from proxyflow.spaces.metric import ACCURACY, Metric

# Columns of a frame of trainings that say what `objective` is, as `Metric` takes them.
METRIC_COLUMNS = ["metric", "goal", "aggregate", "share"]
PERCENT = 100.0


@dataclass(frozen=True)
class Objective:
    """How the values that are compared relate to those of the metric.

    Attributes:
        metric: of the study.
        size: the metric's value that corresponds to 1: 1 for shares, else a power of two, so that no digit is lost.
    """

    metric: Metric = ACCURACY
    size: float = 1.0

    @property
    def loss(self) -> float:
        """What a difference of values of 1 is in points, or in the metric's own unit where it is no share."""
        return self.metric.scale * self.size

    @property
    def unit(self) -> str:
        """The unit of a loss, to follow its number: `points`, or `in log loss`."""
        return self.metric.unit or f"in {self.metric.label}"

    def value_of(self, objective: pd.Series) -> pd.Series:
        """The values to compare, from the metric's own."""
        return self.metric.sign * objective / self.size

    def amount(self, loss: float) -> str:
        """A loss as text, without its unit."""
        return f"{loss:.2f}" if self.metric.share else f"{loss:.3g}"

    def good(self, good: Good) -> Good:
        """Which configurations are good, from the same with the threshold in the metric's own values."""
        if good.threshold is None:
            return good
        return replace(good, threshold=self.metric.sign * good.threshold / self.size)

    def tolerated(self, target: pd.DataFrame, tolerance: float) -> float:
        """A tolerance as a loss: points for shares, else per cent of the metric's spread.

        The spread is the standard deviation over configurations of their mean value on the target, a mean over data
        sets.

        Args:
            target: the target's runs: `dataset`, `config` and `value`.
        """
        if self.metric.share:
            return tolerance
        means = target.groupby(["dataset", "config"])["value"].mean()
        spread = float(means.groupby("dataset").std().mean())
        return tolerance / PERCENT * self.loss * (spread if math.isfinite(spread) else 0.0)


def columns_of(metric: Metric) -> dict[str, str | bool]:
    """The values of `METRIC_COLUMNS` for trainings with this metric."""
    return dict(zip(METRIC_COLUMNS, astuple(metric), strict=True))


def choose_metric(trainings: pd.DataFrame) -> tuple[Metric, pd.DataFrame, list[str]]:
    """The metric that most trainings have, the trainings with it, and a note where some have another one.

    Args:
        trainings: with `METRIC_COLUMNS`.
    """
    counts = trainings.value_counts(METRIC_COLUMNS)
    if not len(counts):
        return ACCURACY, trainings, []
    most = max(counts.index, key=lambda key: (counts[key], key))
    metric = Metric(*most)
    if len(counts) == 1:
        return metric, trainings, []
    has_it = (trainings[METRIC_COLUMNS] == list(most)).all(axis=1)
    note = (
        f"{int((~has_it).sum())} training(s) do not count: their metric is not {metric.name} ({metric.goal}, "
        f"{metric.aggregate} epoch), which most trainings have. A study has one metric."
    )
    return metric, trainings[has_it], [note]


def fill_diverged(finished: pd.DataFrame, metric: Metric) -> tuple[pd.DataFrame, list[str]]:
    """Gives a training that diverged without a value the worst there is, as it is a result.

    That is the metric's worst value, or, where a metric has none, the worst of the same data set and strategy.

    Args:
        finished: trainings with `dataset`, `strategy`, `diverged` and `objective`.
    """
    lost = finished["objective"].isna() & finished["diverged"].astype("boolean").fillna(False).astype(bool)
    if not lost.any():
        return finished, []
    if math.isfinite(metric.worst):
        return finished.assign(objective=finished["objective"].mask(lost, metric.worst)), []
    turned = metric.sign * finished["objective"]
    worst = metric.sign * turned.groupby([finished["dataset"], finished["strategy"]]).transform("min")
    note = (
        f"{int(lost.sum())} training(s) diverged without a finite {metric.name}; each counts with the worst value of "
        "its data set and strategy."
    )
    return finished.assign(objective=finished["objective"].mask(lost, worst)), [note]


def turn(runs: pd.DataFrame, metric: Metric) -> tuple[pd.DataFrame, Objective]:
    """Adds `value`, and `test_value` where there is a `test_objective`."""
    columns = [name for name in ("objective", "test_objective") if name in runs]
    objective = Objective(metric, 1.0 if metric.share else _power_of_two(runs["objective"].to_numpy(dtype=np.float64)))
    values = {name.replace("objective", "value"): objective.value_of(runs[name].astype(np.float64)) for name in columns}
    return runs.assign(**values), objective


def _power_of_two(values: Sequence[float] | np.ndarray) -> float:
    """The least power of two above the size of all finite values."""
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    largest = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1]) if largest > 0 else 1.0
