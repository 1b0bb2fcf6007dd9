"""A checkpoint is whole or not there, and gives back what was put in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from proxyflow.trainers.checkpoints import DESCRIPTION, SLOTS, TENSORS, readable_checkpoints
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
from proxyflow.trainers.images.engine import TrainingState
from proxyflow.trainers.results import EpochRecord


def checkpoint(epochs: int) -> TrainingCheckpoint:
    tensors = {
        "model.weight": torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last),
        "model.count": torch.tensor(7),
        "optimizer.last": torch.tensor(0.1, dtype=torch.float64),
    }
    values = {"train_loss": 1 / 3, "valid_loss": 0.1, "valid_accuracy": 0.7, "epoch_seconds": 1.5}
    records = tuple(EpochRecord(n + 1, values) for n in range(epochs))
    return TrainingCheckpoint(TrainingState(tensors, records, 3.25, 0.75, 0.5, 640), "key", 9.5)


def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path: Path) -> None:
    saved = checkpoint(3)
    saved.save(tmp_path)
    loaded = TrainingCheckpoint.load(tmp_path)
    assert (loaded.run_key, loaded.wall_seconds, loaded.done) == ("key", 9.5, 3)
    assert loaded.state.records == saved.state.records
    assert (loaded.state.train_seconds, loaded.state.valid_seconds) == (3.25, 0.75)
    assert (loaded.state.setup_seconds, loaded.state.examples_seen) == (0.5, 640)
    for name, tensor in saved.state.tensors.items():
        assert loaded.state.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.state.tensors[name], tensor)
    assert {path.name for path in tmp_path.iterdir()} == {TENSORS, DESCRIPTION}


def test_states_are_written_to_two_places_in_turn() -> None:
    slots = [checkpoint(epoch).slot for epoch in range(1, 5)]
    assert slots[0] == slots[2] != slots[1] == slots[3]


@pytest.mark.parametrize(
    "damage", ["cut", "changed", "no tensors", "no description", "not json", "other version", "field"]
)
def test_a_damaged_one_is_left_aside_for_the_other(tmp_path: Path, damage: str) -> None:
    old, new = checkpoint(1), checkpoint(2)
    for each in (old, new):
        each.save(tmp_path / each.slot)
    tensors, description = tmp_path / new.slot / TENSORS, tmp_path / new.slot / DESCRIPTION
    told = json.loads(description.read_text())
    if damage == "cut":
        tensors.write_bytes(tensors.read_bytes()[:-3])
    elif damage == "changed":
        tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x7f")
    elif damage == "no tensors":
        tensors.unlink()
    elif damage == "no description":
        description.unlink()
    elif damage == "not json":
        description.write_text("{")
    elif damage == "other version":
        description.write_text(json.dumps({**told, "version": 99}))
    else:
        description.write_text(json.dumps({key: value for key, value in told.items() if key != "records"}))
    assert [
        each.done for each in readable_checkpoints((tmp_path / slot for slot in SLOTS), TrainingCheckpoint.load)
    ] == [1]
