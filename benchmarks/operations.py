"""Counting what reaches torch, as the cost of a step on a GPU is how often it is called and asked."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What makes the host wait for a GPU: called on a tensor, or dispatched because something inside asks for a value.
CALLS = {"item", "cpu", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero"}
DISPATCHED = ("_local_scalar_dense", "is_nonzero", "aten.equal", "aten.nonzero", "aten.masked_select")


class _Calls(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in CALLS:
            self.waits.append(function.__name__)
        return function(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    """Counts what is dispatched while it is entered, and the calls that wait for the device.

    Attributes:
        names: of the dispatched operations, in order.
        between_devices: those with tensors on more than one device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.between_devices: list[str] = []
        self._calls = _Calls()

    def __enter__(self) -> Operations:
        super().__enter__()
        self._calls.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._calls.__exit__(*error)
        super().__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self.names.append(str(function))
        devices = {leaf.device for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)}
        if len(devices) > 1:
            self.between_devices.append(str(function))
        return out

    @property
    def waits(self) -> list[str]:
        """Calls for which the host would wait for a GPU: `.item()` and its like."""
        dispatched = [name for name in self.names if any(part in name for part in DISPATCHED)]
        # A method that asks for one value is dispatched as well, and counted once.
        return dispatched + [name for name in self._calls.waits if name in ("cpu", "tolist")]
