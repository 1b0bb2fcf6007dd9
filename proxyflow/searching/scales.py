"""Scales on which a metric's noise and differences are about as large everywhere, so that a Gaussian model fits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.spaces.metric import Metric

Floats = NDArray[np.float64]
# Of no finite validation set is a share known to be nearer to 0 or 1.
NEAREST = 1e-3
SMALLEST = 1e-12


@dataclass(frozen=True)
class Scale:
    """A metric's scale: log odds of shares, logarithms of losses, else the values themselves; more is better.

    A point more is worth little at 50 % and much at 98 %, and trainings differ accordingly.

    Attributes:
        metric: what the values are.
        log: they are positive, and less is better.
    """

    metric: Metric
    log: bool = False

    @classmethod
    def of(cls, metric: Metric, values: Floats) -> Scale:
        """The scale for a metric, of which some values are known."""
        positive = bool(len(values)) and bool((values > 0).all())
        return cls(metric, log=not metric.share and metric.goal == "minimize" and positive)

    def forward(self, values: Floats) -> Floats:
        """From the metric's unit, with more being better."""
        if self.metric.share:
            shares = np.clip(values, NEAREST, 1 - NEAREST)
            values = np.log(shares / (1 - shares))
        elif self.log:
            values = np.log(np.maximum(values, SMALLEST))
        return np.asarray(self.metric.sign * values)

    def back(self, values: Floats) -> Floats:
        """To the metric's unit."""
        values = self.metric.sign * values
        if self.metric.share:
            return np.asarray(1 / (1 + np.exp(-values)))
        return np.asarray(np.exp(values)) if self.log else np.asarray(values)
