"""How much memory is free, and saying what work that ran out of it would have needed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from proxyflow.errors import OutOfMemory
from proxyflow.training.devices import device_name

_UNITS = {"bytes": 1.0, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_ASKED = re.compile(r"tried to allocate ([\d.]+) (bytes|[KMG]iB)", re.IGNORECASE)
_CPU_SAYS = "DefaultCPUAllocator"


@contextmanager
def explained(device: torch.device, batch_size: int, image_size: int) -> Iterator[None]:
    """Turns running out of memory in a training into an error that says how much was needed.

    The batch is not made smaller: with batch norm that would be another experiment.

    Raises:
        OutOfMemory: in place of what the allocator raised.
    """
    what_then = (
        f"with batch_size={batch_size} and image_size={image_size}; a smaller batch, image or network is another "
        "experiment, so choose it for the whole study, or take a larger device"
    )
    with explained_with(device, what_then):
        yield


@contextmanager
def explained_with(device: torch.device, what_then: str) -> Iterator[None]:
    """Turns running out of memory into an error that says how much was needed, for what, and what takes less.

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
            f"out of memory on {device_name(device)}: at least {needed:,.0f} MB{there} needed {what_then}"
        ) from error


def free_memory(device: torch.device) -> float:
    """Bytes that this process may still take: of a GPU, or of the machine and of the container that it runs in."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch only keeps for the next use counts as used otherwise
        return float(torch.cuda.mem_get_info(device)[0])
    return float(min(psutil.virtual_memory().available, container_left()))


def container_left(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Bytes until the nearest limit of this process's control groups (version 2), infinite where there is none."""
    try:
        path = next(line.partition("::")[2] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return math.inf
    group = root / path.strip("/")
    return min((_left(each) for each in (group, *group.parents) if each.is_relative_to(root)), default=math.inf)


def _left(group: Path) -> float:
    try:
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        if limit == "max":
            return math.inf
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Pages of files that nobody has read lately are given back when memory is asked for.
        return max(0.0, int(limit) - int(used) + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return math.inf


def asked_mb(message: str) -> float:
    """The allocation that failed in MB, as torch tells it; 0 where it does not."""
    found = _ASKED.search(message)
    return float(found[1]) * _UNITS[found[2].lower()] / 2**20 if found else 0.0
