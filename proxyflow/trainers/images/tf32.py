"""Sets torch's TF32 switches explicitly for the duration of a training.

By default torch computes convolutions in TF32 if the GPU supports it, and matrix products in fp32. The switches apply
to the whole process, so concurrent trainings in threads share them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from proxyflow.core.errors import InvalidValue
from proxyflow.trainers.images.arithmetic import Precision

EXACT, TF32 = "ieee", "tf32"


def _switches() -> tuple[Any, ...]:
    # torch raises an error if these are mixed with the older switches (`allow_tf32`).
    return (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]


class _Users:
    """Counts the users of the current mode, and remembers the mode before the first one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.mode = EXACT
        self.before: list[str] = []

    def enter(self, mode: str) -> bool:
        """Sets the switches; returns False if other users need another mode."""
        with self.lock:
            if self.count and mode != self.mode:
                return False
            if not self.count:
                self.mode, self.before = mode, [switch.fp32_precision for switch in _switches()]
                for switch in _switches():
                    switch.fp32_precision = mode
            self.count += 1
            return True

    def leave(self) -> None:
        """Restores the switches when the last user leaves."""
        with self.lock:
            self.count -= 1
            if not self.count:
                for switch, before in zip(_switches(), self.before, strict=True):
                    switch.fp32_precision = before


_users = _Users()


@contextmanager
def fp32_arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Computes fp32 operations on a CUDA device in TF32 if `precision` is `tf32`, else in fp32.

    Raises:
        InvalidValue: another thread of this process uses the other mode.
    """
    if device.type != "cuda":
        yield
        return
    mode = TF32 if precision.name == "tf32" else EXACT
    if not _users.enter(mode):
        others = "precision=tf32" if mode == EXACT else "another precision than tf32"
        raise InvalidValue(
            "precision",
            precision.name,
            f"a training with {others} runs in this process, and torch has one TF32 switch per process; use the same "
            "precision for concurrent trainings, or separate processes",
        )
    try:
        yield
    finally:
        _users.leave()
