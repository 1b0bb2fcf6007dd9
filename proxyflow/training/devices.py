"""Which device and which arithmetic a training uses, decided once and logged as what really ran."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import time
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil
import torch

from proxyflow.cores import usable_cores, usable_threads
from proxyflow.errors import InvalidValue
from proxyflow.training.precision import precision_name

# Other processes used so much of the CPU time that this one could have had.
SHARED_FROM = 0.1
MIN_OTHER_SECONDS = 0.1

# Another process is on a GPU if more of its memory is taken than this one and its CUDA context account for.
CONTEXT_BYTES = 1.5 * 2**30

# mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD with values that keep freed memory in the process.
KEEP_FREED_MEMORY = {-4: 0, -1: -1, -2: 64 * 2**20}

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Precision:
    """The arithmetic of forward and backward passes; weights and optimizer stay in fp32."""

    name: str
    dtype: torch.dtype

    @property
    def autocast(self) -> bool:
        return self.name != "fp32"


def pick_device() -> torch.device:
    """The current CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def all_devices() -> list[torch.device]:
    """Every CUDA device that this process may use, or the CPU where there is none."""
    found = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return found if torch.cuda.is_available() and found else [torch.device("cpu")]


def select(device: torch.device) -> None:
    """Makes the device the calling thread's current one, which calls that name none go to."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def device_name(device: torch.device) -> str:
    """The device as people name it: a GPU's model, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def resolve_precision(requested: str, device: torch.device, image_size: int) -> Precision:
    """What `requested` means for images of `image_size` pixels a side on `device`, see `precision_name`.

    Raises:
        InvalidValue: the device has no such precision.
    """
    name = precision_name(requested, device.type, image_size)
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise InvalidValue("precision", requested, "this GPU has no bf16; use auto, fp16 or fp32")
    return Precision(name, DTYPES[name])


def batch_layout(device: torch.device, precision: Precision, image_size: int) -> torch.memory_format:
    """Memory format of batches: channels-last, but for small images in fp32 on a CPU, where it costs a tenth.

    Measured with XResNet18 and 50 at 32, 64 and 128 px: fp32 channels-last over channels-first .89 to .99 below 128 px,
    1.06 and 1.38 at 128 px.
    """
    slower = device.type == "cpu" and not precision.autocast and image_size < 128
    return torch.contiguous_format if slower else torch.channels_last


def use_cores(workers: int = 1) -> int:
    """Makes this process one of `workers` that train on these cores, and returns how many threads each has.

    More threads than cores wait for each other: measured 2 to 10 times slower on two cores. And memory that a step
    has freed is kept for the next: given back, it would be fetched and cleared anew at each step (measured with
    XResNet18 at 128 px in bf16: a step takes .85 of the time, and no more memory).
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
    """The C library where it is GNU's, whose allocator can be told what to keep."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.gnu_get_libc_version  # noqa: B018 (another libc under this name has no such function)
    except (OSError, AttributeError):
        return None
    return libc


class Neighbours:
    """Whether others use the device from now on, as measured times then are longer than they need be."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.begun = time.perf_counter()
        self.others = _cpu_seconds_of_others()

    def seen(self) -> bool | None:
        """On a CPU whether others took a tenth of the usable cores' time, on a GPU whether others hold memory of it."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            return total - free - torch.cuda.memory_reserved(self.device) > CONTEXT_BYTES
        now = _cpu_seconds_of_others()
        # Under a quota the machine's other work is not at this process's expense, and what is cannot be told.
        limited = hasattr(os, "sched_getaffinity") and usable_cores() < len(os.sched_getaffinity(0))
        if now is None or self.others is None or limited:
            return None
        could_have = (time.perf_counter() - self.begun) * usable_cores()
        return now - self.others > max(SHARED_FROM * could_have, MIN_OTHER_SECONDS)


def _cpu_seconds_of_others() -> float | None:
    """CPU seconds of the cores that this process may use that were not its own, None where the system does not say."""
    try:
        cores, own = psutil.cpu_times(percpu=True), psutil.Process().cpu_times()
    except (psutil.Error, OSError):
        return None
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
        cores = [times for core, times in enumerate(cores) if core in allowed]
    # user holds guest, and what the hypervisor gave to others (steal) is their use as well.
    fields = ("user", "nice", "system", "irq", "softirq", "steal")
    busy = sum(getattr(times, field, 0.0) for times in cores for field in fields)
    return float(busy - own.user - own.system) if busy else None


def synchronize(device: torch.device) -> None:
    """Waits for the device, so that a clock read next to it is true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


_last_shape: Hashable = None


def reset_peak_memory(device: torch.device, shape: Hashable) -> None:
    """Starts a new measurement of `peak_memory_mb`, where the system can (CUDA, Linux).

    Args:
        shape: what the memory of a training depends on. Memory that the last one has left is given back, but for one of
            the same shape, which uses just that.
    """
    global _last_shape
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        libc = _glibc()
        if libc is not None and shape != _last_shape:
            libc.malloc_trim(0)
        _last_shape = shape
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)


def peak_memory_mb(device: torch.device) -> float:
    """Highest memory in MB since `reset_peak_memory`: allocated on the GPU, or resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
