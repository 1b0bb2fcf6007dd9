"""Grey levels of more than 8 bits scaled to 8, in one way for all files of a data set.

Cameras and scanners write 10, 12 or 14 bits into files of 16, of which the upper eight are then nearly empty. How many
are in use shows in the highest level of all files together: were each file stretched by itself, a dark picture would
become noise, and brightness would mean something else in each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FULL = 16
DEPTHS = (8, 10, 12, 14, FULL)


def depth_of(highest: int) -> int:
    """The fewest bits of `DEPTHS` that hold this level."""
    return next((depth for depth in DEPTHS if highest < 2**depth), FULL)


def highest_of(levels: NDArray[np.uint16], inverted: bool) -> int:
    """The highest level of an image; of an inverted one that uses the upper bits, once it is turned back."""
    top = int(levels.max(initial=0))
    return 2**FULL - 1 - int(levels.min(initial=top)) if inverted and top >= 2 ** DEPTHS[-2] else top


def to_bytes(levels: NDArray[np.uint16], depth: int, inverted: bool) -> NDArray[np.uint8]:
    """The upper eight of so many bits.

    Args:
        inverted: 0 is white (TIFF's PhotometricInterpretation 0); within the depth, or within 16 bits where the
            levels are above it, as both are found.
    """
    if inverted:
        within = depth if levels.max(initial=0) < 2**depth else FULL
        levels = 2**within - 1 - levels
    # A file that has changed since the depth was found may have higher levels.
    return np.asarray(np.minimum(levels, 2**depth - 1) >> (depth - 8), dtype=np.uint8)
