"""The one-cycle schedule (Smith 2018, arXiv 1803.09820) as fastai's `fit_one_cycle` computes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the published script: the rate rises from a tenth for three tenths of the steps; fastai's defaults for the rest.
PCT_START, DIV, DIV_FINAL = 0.3, 10.0, 1e5
MOMENTA = (0.95, 0.85, 0.95)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OneCycle:
    """What each step of a training uses.

    Attributes:
        rates: `(steps,)` learning rates.
        momenta: `(steps,)` momentum of SGD, first beta of Adam.
    """

    rates: Floats
    momenta: Floats

    @staticmethod
    def of(steps: int, highest_rate: float) -> OneCycle:
        """The schedule of a training of so many steps."""
        place = np.arange(steps) / max(steps, 1)
        rates = _rise_and_fall(place, highest_rate / DIV, highest_rate, highest_rate / DIV_FINAL)
        return OneCycle(rates, _rise_and_fall(place, *MOMENTA))


def _rise_and_fall(place: Floats, start: float, middle: float, end: float) -> Floats:
    """Half a cosine to `middle`, another one to `end`."""

    def cosine(low: float, high: float, share: Floats) -> Floats:
        return low + (1 + np.cos(np.pi * (1 - share))) * (high - low) / 2

    first = cosine(start, middle, place / PCT_START)
    second = cosine(middle, end, (place - PCT_START) / (1 - PCT_START))
    return np.where(place < PCT_START, first, second)
