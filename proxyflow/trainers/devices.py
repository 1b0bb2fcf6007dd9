"""Devices: selection, compute threads, contention with other processes, and peak memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Hashable
from functools import lru_cache

import psutil
import torch

from proxyflow.core import platform
from proxyflow.core.cores import usable_cores, usable_threads

# Share of the usable CPU time that other processes must use to count as contention.
SHARED_FROM = 0.1
MIN_OTHER_SECONDS = 0.1

# GPU memory beyond this process's own and this much for its CUDA context belongs to another process.
CONTEXT_BYTES = 1.5 * 2**30

# mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD with values that keep freed memory in the process.
KEEP_FREED_MEMORY = {-4: 0, -1: -1, -2: 64 * 2**20}


def pick_device() -> torch.device:
    """The current CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def all_devices() -> list[torch.device]:
    """All CUDA devices of this process, or the CPU if there are none."""
    found = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return found if torch.cuda.is_available() and found else [torch.device("cpu")]


def set_current_device(device: torch.device) -> None:
    """Makes a CUDA device the current one of the calling thread."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def with_index(device: torch.device) -> torch.device:
    """The device with its index: `cuda` is the current device of the calling thread."""
    return torch.device("cuda", torch.cuda.current_device()) if str(device) == "cuda" else device


def device_name(device: torch.device) -> str:
    """Human-readable name: a GPU's model, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def configure_threads(workers: int = 1) -> int:
    """Sets torch's threads for one of `workers` processes on these cores; returns the number of threads.

    More threads than cores are 2 to 10 times slower (measured on two cores). Also makes glibc's allocator keep freed
    memory: a step then takes .85 of the time with the same peak memory (measured with XResNet18 at 128 px in bf16).
    """
    threads = max(1, usable_threads() // workers)
    torch.set_num_threads(threads)
    libc = _glibc()
    if libc is not None:
        for option, value in KEEP_FREED_MEMORY.items():
            libc.mallopt(option, value)
    return threads


@lru_cache
def _glibc() -> ctypes.CDLL | None:
    """The C library if it is glibc, whose allocator is configurable; else None."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.gnu_get_libc_version  # noqa: B018 (another libc under this name has no such function)
    except (OSError, AttributeError):
        return None
    return libc


class ContentionMonitor:
    """Detects whether other processes use the device after its creation, which makes measured times too long."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.started = time.perf_counter()
        self.others = _cpu_seconds_of_others()

    def detected(self) -> bool | None:
        """CPU: whether others used a tenth of the usable CPU time. GPU: whether others hold memory. None if unknown."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            return total - free - torch.cuda.memory_reserved(self.device) > CONTEXT_BYTES
        now = _cpu_seconds_of_others()
        # Under a CPU quota, other work of the machine does not slow this process, and its share is unknown.
        allowed = platform.cpu_affinity()
        limited = allowed is not None and usable_cores() < len(allowed)
        if now is None or self.others is None or limited:
            return None
        usable_seconds = (time.perf_counter() - self.started) * usable_cores()
        return now - self.others > max(SHARED_FROM * usable_seconds, MIN_OTHER_SECONDS)


def _cpu_seconds_of_others() -> float | None:
    """CPU seconds of other processes on the cores that this process may use; None if unknown."""
    try:
        cores, own = psutil.cpu_times(percpu=True), psutil.Process().cpu_times()
    except (psutil.Error, OSError):
        return None
    allowed = platform.cpu_affinity()
    if allowed is not None:
        cores = [times for core, times in enumerate(cores) if core in allowed]
    # user includes guest; steal is time that the hypervisor gave to other machines.
    fields = ("user", "nice", "system", "irq", "softirq", "steal")
    busy = sum(getattr(times, field, 0.0) for times in cores for field in fields)
    return float(busy - own.user - own.system) if busy else None


def synchronize(device: torch.device) -> None:
    """Waits for the device, so that times measured next are correct."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


_last_shape: Hashable = None


def reset_peak_memory(device: torch.device, shape: Hashable) -> None:
    """Resets `peak_memory_mb`, if the system supports it (CUDA, Linux).

    Args:
        device: the device.
        shape: what the memory of a training depends on. Memory that the previous training freed is returned to the
            system, unless it had the same shape and so would be allocated again.
    """
    global _last_shape
    if device.type == "cuda":
        # Before a process's first allocation, torch knows of no device here, and raises an error.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats(device)
    else:
        libc = _glibc()
        if libc is not None and shape != _last_shape:
            libc.malloc_trim(0)
        _last_shape = shape
        platform.reset_peak_memory()


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MB since `reset_peak_memory`: allocated on the GPU, or resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return platform.peak_memory() / 2**20
