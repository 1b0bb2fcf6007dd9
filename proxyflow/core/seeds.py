"""Named random streams derived from a run's seed, so that changing one part does not affect the others."""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for a named stream of a run.

    Args:
        seed: the run's seed.
        names: the stream's name, for example `("augment", epoch)`.

    Returns:
        An integer in [0, 2**63), the same on every machine and Python version.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for a named stream of a run, see `stream_seed`."""
    return np.random.default_rng(stream_seed(seed, *names))
