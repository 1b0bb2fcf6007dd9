"""A training's state between two epochs as files: tensors as safetensors, the rest as JSON, never a pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file

from proxyflow.files import replacing, sha256_of, write_json
from proxyflow.training.engine import EpochRecord, TrainingState

T = TypeVar("T")
VERSION = 1
TENSORS, DESCRIPTION = "state.safetensors", "state.json"

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
    def done(self) -> int:
        """How far the training is, as `epoch`."""
        return self.epoch

    @property
    def slot(self) -> str:
        """The folder that it is written to."""
        return SLOTS[self.epoch % len(SLOTS)]

    def save(self, folder: Path) -> None:
        """Writes it whole: the description, with the tensors' checksum, is last."""
        description = {
            "run_key": self.run_key,
            "wall_seconds": self.wall_seconds,
            "train_seconds": self.state.train_seconds,
            "setup_seconds": self.state.setup_seconds,
            "examples_seen": self.state.examples_seen,
            "records": [dataclasses.asdict(record) for record in self.state.records],
        }
        save_state(folder, self.state.tensors, description)

    @staticmethod
    def load(folder: Path) -> Checkpoint:
        """Reads one back.

        Raises:
            ValueError: it is not whole, or was written by another version of this code.
            OSError: a file is missing.
        """
        try:
            tensors, description = load_state(folder)
            state = TrainingState(
                tensors=tensors,
                records=tuple(EpochRecord(**record) for record in description["records"]),
                train_seconds=float(description["train_seconds"]),
                setup_seconds=float(description["setup_seconds"]),
                examples_seen=int(description["examples_seen"]),
            )
            return Checkpoint(state, str(description["run_key"]), float(description["wall_seconds"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / DESCRIPTION} is not a checkpoint's: {error}") from None


def save_state(folder: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Writes tensors, and what belongs to them, whole: the description, with the tensors' checksum, is last."""
    on_host = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(folder / TENSORS) as beside:
        save_file(on_host, str(beside))
    whole = {"version": VERSION, "sha256": sha256_of(folder / TENSORS), "torch": torch.__version__}
    write_json(folder / DESCRIPTION, {**description, **whole})


def load_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads what `save_state` wrote.

    Raises:
        ValueError, KeyError: it is not whole, or was written by another version of this code.
        OSError: a file is missing.
    """
    description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if description["version"] != VERSION or description["sha256"] != sha256_of(folder / TENSORS):
        raise ValueError(f"{folder} was not written whole, or by another version")
    return load_file(str(folder / TENSORS)), description


def readable(folders: Iterable[Path], load: Callable[[Path], T]) -> Iterator[T]:
    """The checkpoints of these folders that are whole."""
    for folder in folders:
        try:
            yield load(folder)
        except (ValueError, OSError):
            continue
