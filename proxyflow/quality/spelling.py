"""The epochs that the name of a proxy states by itself.

The statistics compare trainings of any origin, so they read names and do not look strategies up.
"""

from __future__ import annotations

import re

from proxyflow.core.spelling import parts_of

_EPOCHS = re.compile(r"epochs:([1-9][0-9]*)")


def epochs_named(strategy: str) -> int | None:
    """The number of epochs that a strategy's name states in a part `epochs:N`; None where it states none.

    Example:
        >>> epochs_named("random:0.25+epochs:5"), epochs_named("size:16")
        (5, None)
    """
    found = [match for part in parts_of(strategy) if (match := _EPOCHS.fullmatch(part.strip()))]
    return int(found[0][1]) if found else None
