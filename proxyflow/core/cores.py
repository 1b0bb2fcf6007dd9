"""The number of CPU cores that this process may use, which can be less than the machine has."""

from __future__ import annotations

import os

from joblib import cpu_count


def usable_cores() -> int:
    """Cores within the process's affinity and the container's quota; at least 1."""
    return max(1, int(cpu_count()))


def usable_threads() -> int:
    """Useful compute threads: one per physical core, or OMP_NUM_THREADS if that is fewer."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    physical = max(1, int(cpu_count(only_physical_cores=True)))
    return min(physical, int(wanted)) if wanted.isdecimal() and int(wanted) else physical
