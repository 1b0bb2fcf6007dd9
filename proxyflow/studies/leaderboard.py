"""The configurations of a study by their values on the target, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

from proxyflow.quality.runs import TARGET
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.metric import Metric
from proxyflow.studies.plan import PlannedTraining

SHOWN = 5  # configurations of a data set


class Leaderboard:
    """Collects the results of trainings on the target; a configuration's value is its mean over the seeds.

    Args:
        metric: that trainings are compared by.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._values: dict[str, dict[Configuration, dict[int, float]]] = {}

    def add(self, training: PlannedTraining, value: float) -> None:
        """Adds a result; that of a proxy does not count, nor does one that is not finite."""
        if training.strategy.is_target and math.isfinite(value):
            by_seed = self._values.setdefault(training.dataset, {}).setdefault(training.spec.configuration, {})
            by_seed[training.spec.seed] = value

    def best_so_far(self, dataset: str) -> str:
        """The best configuration on a data set in a few words; empty if there is none."""
        found = self._ranked(dataset)
        return f"best so far {found[0][1].name}: {found[0][0]:.3f}" if found else ""

    def lines(self) -> Iterator[str]:
        """A table for each data set, for a terminal."""
        for dataset in self._values:
            found, seeds = self._ranked(dataset), max(map(len, self._values[dataset].values()))
            which = f"the best {SHOWN} of {len(found)}" if len(found) > SHOWN else f"all {len(found)}"
            mean = f", means over {seeds} seeds" if seeds > 1 else ""
            yield f"{which} configurations on {TARGET} of {dataset}, by {self.metric.label}{mean}:"
            for rank, (value, configuration) in enumerate(found[:SHOWN], start=1):
                yield f"  {rank}  {value:.4f}  {configuration.name}"

    def _ranked(self, dataset: str) -> list[tuple[float, Configuration]]:
        means = [(fmean(values.values()), each) for each, values in self._values.get(dataset, {}).items()]
        return sorted(means, key=lambda each: -self.metric.sign * each[0])
