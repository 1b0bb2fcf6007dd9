"""Estimates memory and FLOPs of an iteration by running its code on meta tensors, which have shapes but no data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from proxyflow.core.errors import InvalidValue
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import make_distiller
from proxyflow.strategies.distillation_methods import Method
from proxyflow.trainers.images.memory import free_memory

# Transient tensors of the largest size, besides those that autograd saves.
PASSING = 6
# Usable share of free memory; the rest is left to other processes.
USABLE = 0.9
# Remedies, for error messages.
MEMORY_ADVICE = (
    "use fewer images_per_class, a smaller image_size, fewer steps or epochs or a smaller batch (gradient-steps), "
    "a smaller width or real_per_class (distribution-matching), a smaller pilot_batch (rank-agreement), or a larger "
    "device"
)


@dataclass(frozen=True)
class MemoryEstimate:
    """The cost of one iteration.

    Attributes:
        flops: floating-point operations, forward and backward.
        n_bytes: peak memory of an iteration or of a pilot training, whichever is larger; without the real images and
            the libraries.
    """

    flops: float
    n_bytes: float


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the bytes of the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(each, Tensor):
                self.n_bytes = max(self.n_bytes, each.nbytes)
        return out


def estimate_memory(method: Method, problem: Problem) -> MemoryEstimate:
    """Estimates an iteration without computing it.

    Raises:
        UserError: the method does not support the problem.
    """
    from torch.utils.flop_counter import FlopCounterMode

    process = make_distiller(method, problem.on_meta_device)
    with FlopCounterMode(display=False) as counter:
        n_bytes = _peak(lambda: process.step(0))
    pilot = process.pilot()
    if pilot is not None:
        network, batch = pilot
        weights = 3 * sum(parameter.nbytes for parameter in network.parameters())  # with gradients and averages
        n_bytes = max(n_bytes, weights + _peak(lambda: network(batch).sum().backward()))
    images = 4 * process.images.nbytes  # with gradient and averages
    return MemoryEstimate(float(counter.get_total_flops()), n_bytes + images)


def _peak(work: Callable[[], object]) -> int:
    """Bytes that autograd saves for the backward pass, plus transient tensors."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), _Largest() as largest:
        work()
    return int(sum(saved.values()) + PASSING * largest.n_bytes)


def check_memory(needed: float, device: torch.device) -> None:
    """Checks that an iteration fits into free memory.

    Raises:
        InvalidValue: it does not; the message has remedies.
    """
    free = free_memory(device)
    if needed > USABLE * free:
        raise InvalidValue(
            "memory",
            f"{needed / 2**20:,.0f} MB",
            f"an iteration needs about that; {free / 2**20:,.0f} MB are free on {device.type}; {MEMORY_ADVICE}",
        )
