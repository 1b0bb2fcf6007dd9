"""How examples are scored, as a value: planning a study needs it, and not the code that trains."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from proxyflow.errors import InvalidValue
from proxyflow.training.engine import TrainingSpec

# Where in a training early measures look at its model. The first is the published place of EL2N (epoch 20 of 200).
EARLY_SHARES = (0.1, 0.25, 0.5)


def early_epochs(epochs: int, wanted: Iterable[int] = ()) -> tuple[int, ...]:
    """Epochs after which early measures look at a model: a tenth, a quarter and half of all, then `wanted` ones."""
    usual = (max(1, math.floor(epochs * share + 0.5)) for share in EARLY_SHARES)
    return tuple(dict.fromkeys((*usual, *sorted(wanted))))


@dataclass(frozen=True)
class ScoringSpec:
    """How examples are scored.

    Attributes:
        training: the scoring model's configuration; by default all hyperparameters are the default ones.
        repeats: times that everything is done, with seeds of their own; scores are averaged.
        holdout_folds: 0, or the number of folds for `heldout_loss`, each a training of its own.
        early: epochs after which early measures look at the model, by default those of `early_epochs`. The first is
            where the plain `el2n` is taken.

    Raises:
        InvalidValue: the training has no such epoch.
    """

    training: TrainingSpec
    repeats: int = 1
    holdout_folds: int = 0
    early: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        epochs = self.training.settings.epochs
        chosen = tuple(dict.fromkeys(self.early)) or early_epochs(epochs)
        if not all(1 <= epoch <= epochs for epoch in chosen):
            named = ",".join(map(str, chosen))
            raise InvalidValue("early_epochs", named, f"the scoring model trains for epochs 1 to {epochs}")
        object.__setattr__(self, "early", chosen)

    @property
    def trainings(self) -> int:
        """How many models are trained in all."""
        return self.repeats * (1 + self.holdout_folds)
