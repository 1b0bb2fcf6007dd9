"""Values on a scale on which a Gaussian model fits them: bad ones are cut, and the spread of the good ones is 1."""

from __future__ import annotations

import numpy as np

from proxyflow.searching.surrogate import Floats, Ints

FEW = 6  # values of a rung that do not have a spread of their own
QUANTILE, WORST = 0.9, 2.0
LEAST_SPREAD = 1e-9  # relative to the values: a smaller one is the rounding error of ties


def most_seen(rung: Ints) -> int:
    """The rung with the most values."""
    return int(np.bincount(rung).argmax())


def winsorized(value: Floats, rung: Ints, rungs: int) -> Floats:
    """Values that are not far below their rung's median.

    How bad a bad configuration is says nothing of the good ones, and a Gaussian model would spend itself on it.
    """
    if not len(value):
        return value
    found = value.copy()
    usual = _upper_spread(value[rung == most_seen(rung)])
    for number in range(rungs):
        of_rung = value[rung == number]
        if len(of_rung) >= FEW:
            spread = _upper_spread(of_rung)
            floor = float(np.median(of_rung)) - WORST * spread
        elif len(of_rung):
            spread = usual
            floor = float(of_rung.max()) - (WORST + 1) * spread
        else:
            continue
        if spread > 0:  # else the better half ties, and tells nothing of how far is far
            found[rung == number] = np.maximum(of_rung, floor)
    return found


def _upper_spread(values: Floats) -> float:
    """How far the good values are above the median; 0 where they tie."""
    spread = float(np.quantile(values, QUANTILE) - np.median(values))
    return spread if spread > LEAST_SPREAD * (1 + abs(float(np.median(values)))) else 0.0


def differ(values: Floats) -> bool:
    """Whether values differ by more than rounding errors."""
    return bool(values.std() > LEAST_SPREAD * (1 + abs(float(np.median(values)))))
