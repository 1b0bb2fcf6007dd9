"""Checkpoints of the image trainer: the state after an epoch, with validation rules for loading it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from proxyflow.core.settings import Rule
from proxyflow.core.validation import Fields, Items, Numeric, Text
from proxyflow.trainers.checkpoints import DESCRIPTION, SLOTS, load_state, save_state
from proxyflow.trainers.images.engine import TrainingState
from proxyflow.trainers.results import EpochRecord

SECONDS, COUNT = Numeric(low=0), Numeric(low=0, whole=True)
RECORD = Fields(
    {
        "epoch": Numeric(low=1, whole=True),
        "train_loss": Numeric(),
        "valid_loss": Numeric(),
        "valid_accuracy": Numeric(low=0, high=1),
        "epoch_seconds": SECONDS,
    }
)
# Cost of the finished epochs.
COSTS: Mapping[str, Rule] = {
    "train_seconds": SECONDS,
    "valid_seconds": SECONDS,
    "setup_seconds": SECONDS,
    "examples_seen": COUNT,
}
RULES: Mapping[str, Rule] = {
    "run_key": Text(),
    "wall_seconds": SECONDS,
    **COSTS,
    "records": Items(RECORD, fewest=1, most=100_000),
}


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingCheckpoint:
    """A training state with the key and time of its run, see `protocol.Checkpoint`."""

    state: TrainingState
    run_key: str
    wall_seconds: float

    @property
    def records(self) -> tuple[EpochRecord, ...]:
        return self.state.records

    @property
    def done(self) -> int:
        return len(self.state.records)

    @property
    def slot(self) -> str:
        return SLOTS[self.done % len(SLOTS)]

    def save(self, folder: Path) -> None:
        description = {
            "run_key": self.run_key,
            "wall_seconds": self.wall_seconds,
            **{name: getattr(self.state, name) for name in COSTS},
            "records": [{"epoch": record.epoch, **record.values} for record in self.state.records],
        }
        save_state(folder, self.state.tensors, description)

    @staticmethod
    def load(folder: Path) -> TrainingCheckpoint:
        """Reads and validates a checkpoint, see `load_state` for the errors."""
        tensors, description = load_state(folder, RULES)
        records = tuple(EpochRecord(record.pop("epoch"), record) for record in description["records"])
        if [record.epoch for record in records] != list(range(1, len(records) + 1)):
            raise ValueError(f"{folder / DESCRIPTION} has records that are not of consecutive epochs")
        costs = {name: description[name] for name in COSTS}
        state = TrainingState(tensors=tensors, records=records, **costs)
        return TrainingCheckpoint(state, description["run_key"], description["wall_seconds"])
