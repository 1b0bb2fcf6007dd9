"""The one-cycle schedule (Smith 2018, arXiv 1803.09820) as fastai's `fit_one_cycle` computes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Settings of the published script (warm-up from a tenth over 30 % of the steps); otherwise fastai's defaults.
PCT_START, DIV, DIV_FINAL = 0.3, 10.0, 1e5
MOMENTA = (0.95, 0.85, 0.95)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OneCycle:
    """Learning rate and momentum of each step.

    Attributes:
        rates: `(steps,)` learning rates.
        momenta: `(steps,)` momentum of SGD, first beta of Adam.
    """

    rates: Floats
    momenta: Floats

    @staticmethod
    def of(steps: int, highest_rate: float) -> OneCycle:
        """The schedule for a number of steps."""
        place = np.arange(steps) / max(steps, 1)
        rates = _rise_and_fall(place, highest_rate / DIV, highest_rate, highest_rate / DIV_FINAL)
        return OneCycle(rates, _rise_and_fall(place, *MOMENTA))


def _rise_and_fall(place: Floats, start: float, middle: float, end: float) -> Floats:
    """Cosine annealing from `start` to `middle`, then to `end`."""

    def cosine(low: float, high: float, share: Floats) -> Floats:
        return low + (1 + np.cos(np.pi * (1 - share))) * (high - low) / 2

    first = cosine(start, middle, place / PCT_START)
    second = cosine(middle, end, (place - PCT_START) / (1 - PCT_START))
    return np.where(place < PCT_START, first, second)
