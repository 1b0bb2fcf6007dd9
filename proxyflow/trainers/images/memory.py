"""Free memory of devices and containers, and out-of-memory errors that say how much was needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from proxyflow.core import cuda
from proxyflow.core.errors import OutOfMemory
from proxyflow.core.platform import container_memory_left
from proxyflow.trainers.devices import device_name, with_index
from proxyflow.trainers.images.capture import forget

_UNITS = {"bytes": 1.0, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_REQUESTED = re.compile(r"tried to allocate ([\d.]+) (bytes|[KMG]iB)", re.IGNORECASE)
_CPU_ALLOCATOR = "DefaultCPUAllocator"


@contextmanager
def explain_out_of_memory(device: torch.device, batch_size: int, image_size: int) -> Iterator[None]:
    """Converts out-of-memory errors of a training.

    The batch size is never reduced automatically: with batch norm that would be another experiment.

    Raises:
        OutOfMemory: replaces the allocator's error.
    """
    advice = (
        f"with batch_size={batch_size} and image_size={image_size}; a smaller batch, image or network is another "
        "experiment, so choose it for the whole study, or use a larger device"
    )
    with explain_out_of_memory_with(device, advice):
        yield


@contextmanager
def explain_out_of_memory_with(device: torch.device, advice: str) -> Iterator[None]:
    """Converts out-of-memory errors to errors that say how much was needed, followed by `advice`.

    Raises:
        OutOfMemory: replaces the allocator's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and _CPU_ALLOCATOR not in str(error):
            raise
        needed = requested_mb(str(error))
        total = ""
        if device.type == "cuda":
            needed += torch.cuda.max_memory_allocated(device) / 2**20
            total = f" of {torch.cuda.mem_get_info(device)[1] / 2**20:,.0f} MB"
            cuda.empty_cache()
        raise OutOfMemory(
            f"out of memory on {device_name(device)}: at least {needed:,.0f} MB{total} needed {advice}"
        ) from error


def free_memory(device: torch.device) -> float:
    """Free bytes: of a GPU, or of the machine and the container.

    Frees the GPU's cached graphs, which would count as used memory.
    """
    if device.type == "cuda":
        forget(with_index(device))
        return float(torch.cuda.mem_get_info(device)[0])
    return float(min(psutil.virtual_memory().available, container_memory_left()))


def requested_mb(message: str) -> float:
    """Size in MB of the failed allocation from torch's message; 0 if the message does not have it."""
    found = _REQUESTED.search(message)
    return float(found[1]) * _UNITS[found[2].lower()] / 2**20 if found else 0.0
