"""Saying what a training that ran out of memory would have needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from proxyflow.errors import OutOfMemory
from proxyflow.training.devices import device_name

_UNITS = {"bytes": 1.0, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_ASKED = re.compile(r"tried to allocate ([\d.]+) (bytes|[KMG]iB)", re.IGNORECASE)
_CPU_SAYS = "DefaultCPUAllocator"


@contextmanager
def explained(device: torch.device, batch_size: int, image_size: int) -> Iterator[None]:
    """Turns running out of memory into an error that says how much was needed.

    The batch is not made smaller: with batch norm that would be another experiment.

    Raises:
        OutOfMemory: in place of what the allocator raised.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and _CPU_SAYS not in str(error):
            raise
        needed = asked_mb(str(error))
        there = ""
        if device.type == "cuda":
            needed += torch.cuda.max_memory_allocated(device) / 2**20
            there = f" of {torch.cuda.mem_get_info(device)[1] / 2**20:,.0f} MB"
            torch.cuda.empty_cache()
        raise OutOfMemory(
            f"out of memory on {device_name(device)}: at least {needed:,.0f} MB{there} needed with batch_size="
            f"{batch_size} and image_size={image_size}; a smaller batch, image or network is another experiment, so "
            "choose it for the whole study, or take a larger device"
        ) from error


def asked_mb(message: str) -> float:
    """The allocation that failed in MB, as torch tells it; 0 where it does not."""
    found = _ASKED.search(message)
    return float(found[1]) * _UNITS[found[2].lower()] / 2**20 if found else 0.0
