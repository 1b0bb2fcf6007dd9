"""Checkpoints of distillations: the state after an iteration, with validation rules for loading it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from proxyflow.core.settings import Rule
from proxyflow.core.validation import Items, Numeric, Pair, Text
from proxyflow.distillation.distill import DistillationState
from proxyflow.scores.table import COST, SelectionCost
from proxyflow.trainers.checkpoints import SLOTS, load_state, save_state

COUNT = Numeric(low=0, whole=True)
RULES: Mapping[str, Rule] = {
    "run_key": Text(),
    "wall_seconds": Numeric(low=0),
    "number": COUNT,
    "iteration": COUNT,
    "losses": Items(Pair(COUNT, Numeric())),
    "loss_sum": Numeric(),
    "cost": COST,
    "share": Numeric(low=0, high=1),
}


@dataclasses.dataclass(frozen=True, eq=False)
class DistillationCheckpoint:
    """A distillation state with the key and time of its run, see `trainers.job.SavedState`.

    Attributes:
        number: number of earlier checkpoints, which decides the slot.
    """

    state: DistillationState
    run_key: str
    wall_seconds: float
    number: int

    @property
    def done(self) -> int:
        return self.state.iteration

    @property
    def slot(self) -> str:
        return SLOTS[self.number % len(SLOTS)]

    def save(self, folder: Path) -> None:
        described = {
            "run_key": self.run_key,
            "wall_seconds": self.wall_seconds,
            "number": self.number,
            "iteration": self.state.iteration,
            "losses": self.state.losses,
            "loss_sum": self.state.loss_sum,
            "cost": self.state.cost.to_json(),
            "share": self.state.share,
        }
        save_state(folder, self.state.tensors, described)

    @staticmethod
    def load(folder: Path) -> DistillationCheckpoint:
        """Reads and validates a checkpoint, see `load_state` for the errors."""
        tensors, entries = load_state(folder, RULES)
        state = DistillationState(
            tensors=tensors,
            iteration=entries["iteration"],
            losses=entries["losses"],
            loss_sum=entries["loss_sum"],
            cost=SelectionCost.from_json(entries["cost"]),
            share=entries["share"],
        )
        return DistillationCheckpoint(state, entries["run_key"], entries["wall_seconds"], entries["number"])
