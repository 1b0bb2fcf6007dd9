"""How many cores this process may use, which is not how many the machine has."""

from __future__ import annotations

import os

from joblib import cpu_count


def usable_cores() -> int:
    """Cores within this process's affinity and its container's quota, at least 1."""
    return max(1, int(cpu_count()))


def usable_threads() -> int:
    """Threads that arithmetic gains by: one per physical core, fewer where the variable OMP_NUM_THREADS says so."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    physical = max(1, int(cpu_count(only_physical_cores=True)))
    return min(physical, int(wanted)) if wanted.isdecimal() and int(wanted) else physical
