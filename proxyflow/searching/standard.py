"""Values on a scale on which a Gaussian model fits them: bad ones are cut, and the spread of the good ones is 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxyflow.searching.surrogate import Floats, Ints

SAMPLE = 24  # configurations of a rung that say how much configurations differ
FEW = 6  # values of a rung that do not have a spread of their own
QUANTILE, WORST = 0.9, 2.0
LEAST_SPREAD = 1e-9  # relative to the values: a smaller one is the rounding error of ties


def most_seen(rung: Ints) -> int:
    """The rung with the most values."""
    return int(np.bincount(rung).argmax())


def early(place: Ints, rung: Ints) -> NDArray[np.bool_]:
    """The values of the first configurations on each rung: later ones are chosen for being good, and so no sample.

    Args:
        place: `(n,)`, which configuration, in the order in which trainings ended.
        rung: `(n,)`.
    """
    first: dict[int, set[int]] = {}
    found = np.zeros(len(place), dtype=bool)
    for number, (configuration, on) in enumerate(zip(place.tolist(), rung.tolist(), strict=True)):
        seen = first.setdefault(on, set())
        if configuration not in seen and len(seen) < SAMPLE:
            seen.add(configuration)
            found[number] = True
    return found


def winsorized(value: Floats, rung: Ints, rungs: int, sample: NDArray[np.bool_]) -> Floats:
    """Values that are not far below their rung's median.

    How bad a bad configuration is says nothing of the good ones, and a Gaussian model would spend itself on it.

    Args:
        value: `(n,)`.
        rung: `(n,)`.
        rungs: how many there are.
        sample: `(n,)`, which values say what is usual, see `early`.
    """
    if not len(value):
        return value
    found = value.copy()
    usual = _upper_spread(value[(rung == most_seen(rung[sample])) & sample])
    for number in range(rungs):
        of_rung, known = value[rung == number], value[(rung == number) & sample]
        if len(known) >= FEW:
            spread = _upper_spread(known)
            floor = float(np.median(known)) - WORST * spread
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
