"""What an iteration takes before there is one: the same code on tensors that have a shape and no content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from proxyflow.distillation.methods import Method
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import begin
from proxyflow.errors import InvalidValue
from proxyflow.training.memory import free_memory

# Tensors of the largest size that come and go beside what is kept for the way back.
PASSING = 6
# Of what is free, so that others on the machine may go on breathing.
USABLE = 0.9
# What takes less, for whoever has too little.
LESS = (
    "use fewer images_per_class, a smaller image_size, fewer steps or epochs or a smaller batch (gradient-steps), "
    "a smaller width or real_per_class (distribution-matching), a smaller pilot_batch (rank-agreement), or a larger "
    "device"
)


@dataclass(frozen=True)
class Rehearsal:
    """What one iteration takes.

    Attributes:
        flops: floating-point operations, forward and backward.
        n_bytes: memory at its peak, or that of a training among the iterations where that is more, without the real
            images and the libraries.
    """

    flops: float
    n_bytes: float


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the largest tensor that an operation gives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(each, Tensor):
                self.n_bytes = max(self.n_bytes, each.nbytes)
        return out


def rehearse(method: Method, problem: Problem) -> Rehearsal:
    """Counts an iteration without computing it.

    Raises:
        UserError: the problem is none that this method can have.
    """
    from torch.utils.flop_counter import FlopCounterMode

    process = begin(method, problem.rehearsed)
    with FlopCounterMode(display=False) as counter:
        n_bytes = _peak(lambda: process.step(0))
    pilot = process.pilot()
    if pilot is not None:
        network, batch = pilot
        beside = 3 * sum(parameter.nbytes for parameter in network.parameters())  # gradients and averages
        n_bytes = max(n_bytes, beside + _peak(lambda: network(batch).sum().backward()))
    images = 4 * process.images.nbytes  # with gradient and averages
    return Rehearsal(float(counter.get_total_flops()), n_bytes + images)


def _peak(work: Callable[[], object]) -> int:
    """Bytes that work keeps for its way back, and of what comes and goes meanwhile."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), _Largest() as largest:
        work()
    return int(sum(kept.values()) + PASSING * largest.n_bytes)


def check_memory(needed: float, device: torch.device) -> None:
    """Refuses a distillation that does not fit, before it begins.

    Raises:
        InvalidValue: with what would take less.
    """
    free = free_memory(device)
    if needed > USABLE * free:
        raise InvalidValue(
            "memory",
            f"{needed / 2**20:,.0f} MB",
            f"an iteration takes about that much and {free / 2**20:,.0f} MB are free on {device.type}; {LESS}",
        )
