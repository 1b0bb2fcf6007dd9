"""A training's state between two epochs as files: tensors as safetensors, the rest as JSON, never a pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from proxyflow.files import replacing, sha256_of, write_json
from proxyflow.training.engine import EpochRecord, TrainingState

VERSION = 1
FILES = TENSORS, DESCRIPTION = "state.safetensors", "state.json"

# Written in turn, so that one is whole whenever the other is being replaced.
SLOTS = ("a", "b")


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A state with what belongs to it outside of the engine.

    Attributes:
        run_key: of the training, whose settings a resumed one must have.
        wall_seconds: what it took so far, set-up and logging included.
    """

    state: TrainingState
    run_key: str
    wall_seconds: float

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.state.records)

    @property
    def slot(self) -> str:
        """The folder that it is written to."""
        return SLOTS[self.epoch % len(SLOTS)]

    def save(self, folder: Path) -> None:
        """Writes it whole: the description, with the tensors' checksum, is last."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state.tensors.items()}
        with replacing(folder / TENSORS) as beside:
            save_file(tensors, str(beside))
        description = {
            "version": VERSION,
            "sha256": sha256_of(folder / TENSORS),
            "run_key": self.run_key,
            "wall_seconds": self.wall_seconds,
            "train_seconds": self.state.train_seconds,
            "setup_seconds": self.state.setup_seconds,
            "examples_seen": self.state.examples_seen,
            "records": [dataclasses.asdict(record) for record in self.state.records],
            "torch": torch.__version__,
        }
        write_json(folder / DESCRIPTION, description)

    @staticmethod
    def load(folder: Path) -> Checkpoint:
        """Reads one back.

        Raises:
            ValueError: it is not whole, or was written by another version of this code.
            OSError: a file is missing.
        """
        try:
            description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if description["version"] != VERSION or description["sha256"] != sha256_of(folder / TENSORS):
                raise ValueError(f"{folder} was not written whole, or by another version")
            state = TrainingState(
                tensors=load_file(str(folder / TENSORS)),
                records=tuple(EpochRecord(**record) for record in description["records"]),
                train_seconds=float(description["train_seconds"]),
                setup_seconds=float(description["setup_seconds"]),
                examples_seen=int(description["examples_seen"]),
            )
            return Checkpoint(state, str(description["run_key"]), float(description["wall_seconds"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / DESCRIPTION} is not a checkpoint's: {error}") from None


def readable(folders: Iterable[Path]) -> Iterator[Checkpoint]:
    """The checkpoints of these folders that are whole."""
    for folder in folders:
        try:
            yield Checkpoint.load(folder)
        except (ValueError, OSError):
            continue
