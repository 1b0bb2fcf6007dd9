"""A distillation's state between two iterations as files, as trainings keep theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from proxyflow.checked import Items, Numeric, Pair, Text
from proxyflow.distillation.distil import State
from proxyflow.scoring.table import COST, SelectionCost
from proxyflow.settings import Rule
from proxyflow.training.checkpoints import SLOTS, load_state, save_state

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
class Checkpoint:
    """A state with what belongs to it outside of the method.

    Attributes:
        run_key: of the distillation, whose settings a resumed one must have.
        wall_seconds: what it took so far, set-up and logging included.
        number: how many were kept before.
    """

    state: State
    run_key: str
    wall_seconds: float
    number: int

    @property
    def done(self) -> int:
        """Finished iterations."""
        return self.state.iteration

    @property
    def slot(self) -> str:
        """The folder that it is written to."""
        return SLOTS[self.number % len(SLOTS)]

    def save(self, folder: Path) -> None:
        """Writes it whole: the description, with the tensors' checksum, is last."""
        described = {
            "run_key": self.run_key,
            "wall_seconds": self.wall_seconds,
            "number": self.number,
            "iteration": self.state.iteration,
            "losses": self.state.losses,
            "loss_sum": self.state.loss_sum,
            "cost": dataclasses.asdict(self.state.cost),
            "share": self.state.share,
        }
        save_state(folder, self.state.tensors, described)

    @staticmethod
    def load(folder: Path) -> Checkpoint:
        """Reads one back.

        Raises:
            ValueError: it is not whole, or was written by another version of this code.
            OSError: a file is missing.
        """
        tensors, told = load_state(folder, RULES)
        cost = SelectionCost(**told["cost"])
        state = State(tensors, told["iteration"], told["losses"], told["loss_sum"], cost, told["share"])
        return Checkpoint(state, told["run_key"], told["wall_seconds"], told["number"])
