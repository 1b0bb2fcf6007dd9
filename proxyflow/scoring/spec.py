"""The specification of a scoring, which planning a study needs without the code that trains."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from proxyflow.core.errors import InvalidValue
from proxyflow.data.protocol import Examples
from proxyflow.data.splits import fold_units
from proxyflow.strategies.base import FEWEST_EXAMPLES
from proxyflow.trainers.job import TrainingSpec

# Shares of the epochs after which early scores are computed. The first is that of the EL2N paper (epoch 20 of 200).
EARLY_SHARES = (0.1, 0.25, 0.5)


def early_epochs(epochs: int, wanted: Iterable[int] = ()) -> tuple[int, ...]:
    """Epochs after which early scores are computed: a tenth, a quarter and half of all, then those in `wanted`."""
    default = (max(1, math.floor(epochs * share + 0.5)) for share in EARLY_SHARES)
    return tuple(dict.fromkeys((*default, *sorted(wanted))))


def fold_problem(folds: int, train: Examples) -> str:
    """Why a training set cannot be shared out over so many folds, empty where it can.

    Copies of an example and members of a group share a fold. Each fold needs one of these units, and all folds but
    any one of them enough to train on.
    """
    units = int(fold_units(train).max(initial=-1)) + 1
    if units >= folds and units - math.ceil(units / folds) >= FEWEST_EXAMPLES:
        return ""
    what = "different training examples" if train.groups is None else "groups of training examples"
    return f"its scores take {folds} folds, and {units} {what} are too few to share out"


@dataclass(frozen=True)
class ScoringSpec:
    """How to score examples.

    Attributes:
        training: the training of the scoring model.
        repeats: number of repeats with different seeds; scores are averaged.
        holdout_folds: number of folds for `heldout_loss`, each with its own training; 0 for none.
        early: epochs after which early scores are computed, by default those of `early_epochs`. The plain `el2n` is
            that of the first one.

    Raises:
        InvalidValue: an early epoch exceeds the epochs of the training.
    """

    training: TrainingSpec
    repeats: int = 1
    holdout_folds: int = 0
    early: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        epochs = self.training.epochs
        chosen = tuple(dict.fromkeys(self.early)) or early_epochs(epochs)
        if not all(1 <= epoch <= epochs for epoch in chosen):
            text = ",".join(map(str, chosen))
            raise InvalidValue("early_epochs", text, f"the scoring model trains for epochs 1 to {epochs}")
        object.__setattr__(self, "early", chosen)

    @property
    def trainings(self) -> int:
        """Total number of trainings."""
        return self.repeats * (1 + self.holdout_folds)
