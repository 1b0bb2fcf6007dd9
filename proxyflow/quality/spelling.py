"""What the name of a strategy says by itself: its parts, and the epochs that it trains.

The statistics compare trainings of any origin, so they read names and do not look strategies up.
"""

from __future__ import annotations

import re

# A plus before a digit is inside a part: `classes:0+3`.
_JOIN = re.compile(r"\+(?![0-9])")
_EPOCHS = re.compile(r"epochs:([1-9][0-9]*)")


def parts_of(strategy: str) -> list[str]:
    """The parts of a strategy's name, in order: those of a composition, else the name itself.

    Example:
        >>> parts_of("classes:0+3+epochs:5")
        ['classes:0+3', 'epochs:5']
    """
    return _JOIN.split(strategy)


def epochs_named(strategy: str) -> int | None:
    """The number of epochs that a strategy's name states in a part `epochs:N`; None where it states none.

    Example:
        >>> epochs_named("random:0.25+epochs:5"), epochs_named("size:16")
        (5, None)
    """
    found = [match for part in parts_of(strategy) if (match := _EPOCHS.fullmatch(part.strip()))]
    return int(found[0][1]) if found else None
