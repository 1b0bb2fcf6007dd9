"""Holding Ctrl-C and SIGTERM for a moment, so that the last writes of a process are not cut off."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred_signals(deliver: bool = True) -> Iterator[None]:
    """Defers SIGINT and SIGTERM until the block ends; does nothing outside of the main thread.

    Args:
        deliver: whether a signal that arrived is raised after the block, or dropped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if arrived and deliver:
        signal.raise_signal(arrived[0])
