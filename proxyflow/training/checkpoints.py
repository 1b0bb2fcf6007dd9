"""A training's state between two epochs as files: tensors as safetensors, the rest as JSON, never a pickle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from proxyflow.checked import CHECKSUM, Fields, Items, Numeric, Text, read_json
from proxyflow.errors import InvalidValue, one_line
from proxyflow.files import replacing, sha256_of, write_json
from proxyflow.settings import Rule
from proxyflow.training.engine import EpochRecord, TrainingState

T = TypeVar("T")
VERSION = 1
FILES = TENSORS, DESCRIPTION = "state.safetensors", "state.json"

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
# What every description has, and a training's.
WRITTEN: Mapping[str, Rule] = {"version": Numeric(low=VERSION, high=VERSION, whole=True), "sha256": CHECKSUM}
RULES: Mapping[str, Rule] = {
    "run_key": Text(),
    "wall_seconds": SECONDS,
    "train_seconds": SECONDS,
    "setup_seconds": SECONDS,
    "examples_seen": COUNT,
    "records": Items(RECORD, fewest=1, most=100_000),
}

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
        tensors, description = load_state(folder, RULES)
        records = tuple(EpochRecord(**record) for record in description["records"])
        if [record.epoch for record in records] != list(range(1, len(records) + 1)):
            raise ValueError(f"{folder / DESCRIPTION} has records that are not of one epoch after the other")
        costs = {name: description[name] for name in ("train_seconds", "setup_seconds", "examples_seen")}
        state = TrainingState(tensors=tensors, records=records, **costs)
        return Checkpoint(state, description["run_key"], description["wall_seconds"])


def save_state(folder: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Writes tensors, and what belongs to them, whole: the description, with the tensors' checksum, is last."""
    on_host = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(folder / TENSORS) as beside:
        save_file(on_host, str(beside))
    whole = {"version": VERSION, "sha256": sha256_of(folder / TENSORS), "torch": torch.__version__}
    write_json(folder / DESCRIPTION, {**description, **whole})


def load_state(folder: Path, rules: Mapping[str, Rule]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads what `save_state` wrote; the files may come from anybody, see docs/safety.md.

    Args:
        rules: of the description's entries.

    Raises:
        ValueError: it is not whole, not as the rules say, or was written by another version of this code.
        OSError: a file is missing.
    """
    try:
        description = Fields({**WRITTEN, **rules}).parse("", read_json(folder / DESCRIPTION))
        if description["sha256"] != sha256_of(folder / TENSORS):
            raise ValueError(f"{folder} was not written whole")
        return load_file(str(folder / TENSORS)), description
    except InvalidValue as error:
        raise ValueError(f"{folder / DESCRIPTION} is not a checkpoint's: {one_line(error)}") from None
    except SafetensorError as error:
        raise ValueError(f"{folder / TENSORS} is not a checkpoint's: {one_line(error)}") from None


def readable(folders: Iterable[Path], load: Callable[[Path], T]) -> Iterator[T]:
    """The checkpoints of these folders that are whole."""
    for folder in folders:
        try:
            yield load(folder)
        except (ValueError, OSError):
            continue
