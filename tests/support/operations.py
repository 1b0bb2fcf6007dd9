"""Counting what reaches torch, as the cost of a step on a GPU is how often it is called and asked."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Reading a value from the device, and copies from one device to another: each makes the host wait.
QUESTIONS = ("_local_scalar_dense", "is_nonzero", "equal.default", "nonzero", "masked_select")


class Operations(TorchDispatchMode):
    """Counts what is dispatched, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.between_devices: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self.names.append(str(function))
        devices = {leaf.device for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)}
        if len(devices) > 1:
            self.between_devices.append(str(function))
        return out

    @property
    def questions(self) -> list[str]:
        """Calls that make the host wait for the device."""
        return [name for name in self.names if any(question in name for question in QUESTIONS)]
