"""Checkpoint files: tensors as safetensors and a description as JSON, never a pickle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from proxyflow.core.errors import InvalidValue, one_line
from proxyflow.core.files import atomic_write, sha256_of, write_json
from proxyflow.core.settings import Rule
from proxyflow.core.validation import CHECKSUM, Fields, Numeric, read_json

T = TypeVar("T")
VERSION = 1
FILES = TENSORS, DESCRIPTION = "state.safetensors", "state.json"

# Entries of every description.
WRITTEN: Mapping[str, Rule] = {"version": Numeric(low=VERSION, high=VERSION, whole=True), "sha256": CHECKSUM}
# Written alternately, so that one is complete while the other is replaced.
SLOTS = ("a", "b")


def save_state(folder: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Writes tensors and their description; the description, with the tensors' checksum, comes last."""
    on_host = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_write(folder / TENSORS) as temporary:
        save_file(on_host, str(temporary))
    common = {"version": VERSION, "sha256": sha256_of(folder / TENSORS), "torch": torch.__version__}
    write_json(folder / DESCRIPTION, {**description, **common})


def load_state(folder: Path, rules: Mapping[str, Rule]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads and validates what `save_state` wrote; the files are untrusted, see docs/explanation/safety.md.

    Args:
        folder: the checkpoint's folder.
        rules: validation rules of the description's entries.

    Raises:
        ValueError: the checkpoint is incomplete or invalid, or another version of this code wrote it.
        OSError: a file is missing.
    """
    try:
        description = Fields({**WRITTEN, **rules}).parse("", read_json(folder / DESCRIPTION))
        if description["sha256"] != sha256_of(folder / TENSORS):
            raise ValueError(f"{folder} is incomplete: the checksum of its tensors differs")
        return load_file(str(folder / TENSORS)), description
    except InvalidValue as error:
        raise ValueError(f"{folder / DESCRIPTION} is not a checkpoint: {one_line(error)}") from None
    except SafetensorError as error:
        raise ValueError(f"{folder / TENSORS} is not a checkpoint: {one_line(error)}") from None


def readable_checkpoints(folders: Iterable[Path], load: Callable[[Path], T]) -> Iterator[T]:
    """Loads the checkpoints of these folders, and skips those that are incomplete or invalid."""
    for folder in folders:
        try:
            yield load(folder)
        except (ValueError, OSError):
            continue
