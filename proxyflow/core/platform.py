"""Operating-system features with their fallbacks; no other module checks which system it runs on.

| function | Linux | fallback |
| --- | --- | --- |
| `allocate` | `posix_fallocate` | writes zeros: slower, and also detects a full disk |
| `read_into` | `preadv` | `pread`, else seek and read under a lock |
| `hard_link` | `link` | `OSError`, as on file systems without hard links |
| `colons_in_names` | yes | no on Windows |
| `cpu_affinity` | `sched_getaffinity` | psutil's affinity, else None (all cores) |
| `processor_flags` | `/proc/cpuinfo` | none, so bf16 is not chosen automatically |
| `process_namespace` | `/proc/self/ns/pid` | 0: the host name alone identifies the machine |
| `container_memory_left` | `/proc/self/cgroup`, `/sys/fs/cgroup` | infinite: only the machine's free memory counts |
| `total_memory` | psutil | none needed: psutil supports Linux, macOS and Windows |
| `peak_memory` | `/proc/self/status` | `getrusage`, else psutil |
| `reset_peak_memory` | `/proc/self/clear_refs` | none: the peak is that of the whole process |
| `may_have_gpu` | `libcuda.so.1`, `/dev/kfd` | `nvcuda.dll`, else no |

Attributes are looked up at each call, so that tests can remove them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import os
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import psutil

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")
BLOCK_BYTES = 2**20
# Errors of file systems that cannot allocate; glibc then writes zeros itself, other C libraries do not.
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
# All threads share the position of a file descriptor.
_position = threading.Lock()


def allocate(file: BinaryIO, n_bytes: int) -> None:
    """Extends a new file to `n_bytes` and reserves the disk space.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
            return
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
    file.seek(0)
    zeros = bytes(min(BLOCK_BYTES, n_bytes))
    for begin in range(0, n_bytes, BLOCK_BYTES):
        file.write(zeros[: n_bytes - begin])
    file.flush()
    os.fsync(file.fileno())


def open_to_read(path: Path) -> int:
    """Opens a file for reading in binary mode (explicit on Windows); returns the descriptor."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def open_to_append(path: Path) -> int:
    """Opens a file for appending in binary mode, readable by its owner only; returns the descriptor."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)


def read_into(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Reads at an offset; thread-safe. Returns the number of bytes read, 0 at the end of the file."""
    if hasattr(os, "preadv"):
        return int(os.preadv(descriptor, [buffer], offset))
    if hasattr(os, "pread"):
        found = os.pread(descriptor, len(buffer), offset)
    else:
        with _position:
            os.lseek(descriptor, offset, os.SEEK_SET)
            found = os.read(descriptor, len(buffer))
    buffer[: len(found)] = found
    return len(found)


def hard_link(source: Path, target: Path) -> None:
    """Creates a hard link; never replaces a file.

    Raises:
        OSError: the target exists, or the file system or the operating system has no hard links.
    """
    if not hasattr(os, "link"):
        raise OSError(errno.ENOSYS, "this system has no hard links", str(target))
    os.link(source, target)


def colons_in_names() -> bool:
    """Whether MLflow accepts colons in metric names on this system; not on Windows."""
    return os.name != "nt"


def cpu_affinity() -> frozenset[int] | None:
    """The cores that this process may run on; None if unknown."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    affinity = getattr(psutil.Process(), "cpu_affinity", None)
    return None if affinity is None else frozenset(affinity())


def processor_flags() -> frozenset[str]:
    """What the processor can do, by Linux's names of x86 and Arm; empty where the system does not tell."""
    try:
        lines = (PROC / "cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    fields = (line.partition(":") for line in lines)
    return frozenset(flag for key, _, value in fields if key.strip() in ("flags", "Features") for flag in value.split())


def process_namespace() -> int:
    """The namespace that process ids are counted in, which containers on one host name have of their own; else 0."""
    try:
        return (PROC / "self" / "ns" / "pid").stat().st_ino
    except OSError:
        return 0


def total_memory() -> int:
    """Memory of the machine in bytes."""
    return int(psutil.virtual_memory().total)


def peak_memory() -> int:
    """Peak resident memory of this process in bytes since `reset_peak_memory`, or since its start."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = (PROC / "self" / "status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    if sys.platform != "win32":
        with contextlib.suppress(ImportError):
            import resource

            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    used = psutil.Process().memory_info()
    return int(getattr(used, "peak_wset", used.rss))


def reset_peak_memory() -> None:
    """Resets `peak_memory`, if the system supports it."""
    with contextlib.suppress(OSError):
        (PROC / "self" / "clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM, see proc(5)


def container_memory_left() -> float:
    """Bytes until the nearest limit of this process's control groups (version 2), infinite where there is none."""
    try:
        lines = (PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
        path = next(line.partition("::")[2] for line in lines if line.startswith("0::"))
    except (OSError, StopIteration):
        return math.inf
    group = GROUPS / path.strip("/")
    return min((_left(each) for each in (group, *group.parents) if each.is_relative_to(GROUPS)), default=math.inf)


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


# NVIDIA's driver on Linux and Windows; AMD's device.
DRIVERS = ("libcuda.so.1", "nvcuda.dll")
AMD = Path("/dev/kfd")
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@lru_cache
def may_have_gpu() -> bool:
    """Whether torch could find a GPU, without importing torch: false only if no driver reports one."""
    if AMD.exists():
        return True
    for name in DRIVERS:
        try:
            driver = ctypes.CDLL(name)
            # Other errors may be transient, so torch decides.
            return bool(driver.cuInit(0) != NO_DEVICE)
        except (OSError, AttributeError):
            continue
    return False
