"""Names of scores: their own, or, for scores of early models, the name with an epoch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice
from proxyflow.scores.base import EARLY, Score, known_scores

AT_EPOCH = re.compile(r"(?P<name>\w+?)_epoch_(?P<epoch>[1-9][0-9]*)")


def at_epoch(name: str, epoch: int) -> str:
    """The column of an early score after an epoch: `el2n_epoch_5`."""
    return f"{name}_epoch_{epoch}"


def score_of(column: str) -> Score | None:
    """The score that a column of a score table holds; None where it holds none that can be used."""
    match = AT_EPOCH.fullmatch(column)
    try:
        measure = known_scores[match["name"] if match else column]
    except InvalidValue:
        return None
    return None if match and measure.needs not in EARLY else measure


@dataclass(frozen=True)
class ScoreName(Choice):
    """A registered score, or an early one at an epoch."""

    @property
    def accepted(self) -> str:
        early = [at_epoch(name, 5) for name, score in known_scores.items() if score.needs in EARLY]
        return f"{super().accepted}, or one of an epoch such as {' or '.join(early)}"

    def parse(self, name: str, value: object) -> str:
        if score_of(str(value)) is None:
            super().parse(name, value)
            known_scores[str(value)]  # says what is wrong with a plug-in
        return str(value)
