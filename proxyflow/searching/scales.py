"""Scales on which a metric's noise and differences are about as large everywhere, so that a Gaussian model fits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.spaces.metric import Metric

Floats = NDArray[np.float64]
SMALLEST = 1e-12


@dataclass(frozen=True)
class Scale:
    """A metric's scale: the arcsine of shares, logarithms of losses, else the values themselves; more is better.

    A point more is worth little at 50 % and much at 98 %, and trainings differ accordingly. The arcsine of the root
    makes the variance of shares of any size the same (Bartlett 1936); log odds would make that of those near 1 larger.

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
            values = 2 * np.arcsin(np.sqrt(np.clip(values, 0, 1)))
        elif self.log:
            values = np.log(np.maximum(values, SMALLEST))
        return np.asarray(self.metric.sign * values)

    def back(self, values: Floats) -> Floats:
        """To the metric's unit."""
        values = self.metric.sign * values
        if self.metric.share:
            return np.asarray(np.sin(np.clip(values, 0, np.pi) / 2) ** 2)
        return np.asarray(np.exp(values)) if self.log else np.asarray(values)
