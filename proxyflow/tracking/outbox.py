"""Metrics on their way to the server while the work goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mlflow.entities import Metric

# A training whose epochs are shorter than this shares one call between several: even in the background a call
# takes processor time, which a short training would feel.
INTERVAL_SECONDS = 1.0
MAX_PER_CALL = 1000  # metrics that one log_batch takes

Send = Callable[[list[Metric]], None]


class Outbox:
    """Sends what is put in, in order, from a thread of its own.

    Args:
        send: writes a batch; an error of it is raised at the next `put` or at `flush`, and ends the sending.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[Metric] = []
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def put(self, metrics: list[Metric]) -> None:
        """Takes metrics and returns at once.

        Raises:
            Exception: what the last attempt to send came to.
        """
        if self._error is not None:
            raise self._error
        with self._changed:
            self._waiting += metrics
            self._changed.notify()
        if self._thread is None:
            # A daemon: a process that has to end does not wait minutes for a server that has gone away.
            self._thread = threading.Thread(target=self._work, name="proxyflow-outbox", daemon=True)
            self._thread.start()

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything is sent, and ends the thread.

        Args:
            timeout: wait no longer than so many seconds.

        Raises:
            Exception: something could not be sent.
        """
        if self._thread is not None:
            self._hurry.set()
            with self._changed:
                self._changed.notify()
            self._thread.join(timeout)
            if self._thread.is_alive():
                return
            self._thread = None
            self._hurry.clear()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._hurry.is_set():
                    self._changed.wait()
                batch, self._waiting = self._waiting[:MAX_PER_CALL], self._waiting[MAX_PER_CALL:]
            if not batch:
                return
            try:
                self._send(batch)
            except Exception as error:
                self._error = error
                return
            self._hurry.wait(INTERVAL_SECONDS)
