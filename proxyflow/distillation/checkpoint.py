"""A distillation's state between two iterations as files, as trainings keep theirs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from proxyflow.distillation.distil import State
from proxyflow.scoring.table import SelectionCost
from proxyflow.training.checkpoints import SLOTS, load_state, save_state


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
            "cost": dataclasses.asdict(self.state.cost),
        }
        save_state(folder, self.state.tensors, described)

    @staticmethod
    def load(folder: Path) -> Checkpoint:
        """Reads one back.

        Raises:
            ValueError: it is not whole, or was written by another version of this code.
            OSError: a file is missing.
        """
        try:
            tensors, told = load_state(folder)
            losses = tuple((int(iteration), float(loss)) for iteration, loss in told["losses"])
            state = State(tensors, int(told["iteration"]), losses, SelectionCost(**told["cost"]))
            return Checkpoint(state, str(told["run_key"]), float(told["wall_seconds"]), int(told["number"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder} is not a distillation's checkpoint: {error}") from None
