"""Serializes CUDA operations that only one thread per process may run: graph capture and freeing cached memory."""

from __future__ import annotations

import threading
from contextlib import suppress

import torch

# torch captures one CUDA graph at a time per process, on any device.
capture_lock = threading.RLock()


def empty_cache() -> None:
    """Frees torch's cached device memory, once no thread captures a graph.

    torch frees the memory of all devices at once, and raises an error during a capture on any of them. After a failed
    capture it may keep raising that error (torch 2.11 considers the capture active); the memory then stays cached.
    """
    with capture_lock, suppress(RuntimeError):
        torch.cuda.empty_cache()
