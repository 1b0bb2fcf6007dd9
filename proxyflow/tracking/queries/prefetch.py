"""Concurrent requests for pages in order: MLflow's client waits for each page, which keeps one of four workers busy."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

from mlflow.tracking import MlflowClient

from proxyflow.tracking.delivery.retrying import TRACKING_ERRORS, call_with_retry, without_retries

T = TypeVar("T")
R = TypeVar("R")

CONCURRENT_REQUESTS = 4  # MLflow's server has as many workers by default

# Connections that arrive at the same moment are all accepted by one idle worker, and stay with it.
STAGGER_SECONDS = 0.05


def prefetch(client: MlflowClient, fetch: Callable[[MlflowClient, T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of `fetch` for the items, in order; at most `CONCURRENT_REQUESTS` are requested and not yet used.

    Args:
        fetch: called in threads, and retried with the client's retries.
        items: may be endless; a caller that stops early leaves only the requests that are under way.
    """
    direct, remaining = without_retries(client), iter(items)
    pending: deque[tuple[T, Future[R]]] = deque()
    started = 1
    while True:
        for item in islice(remaining, CONCURRENT_REQUESTS - len(pending)):
            pending.append((item, _start(fetch, direct, item)))
            if started < CONCURRENT_REQUESTS:
                started += 1
                time.sleep(STAGGER_SECONDS)
        if not pending:
            return
        item, future = pending.popleft()
        try:
            result = future.result()
        except TRACKING_ERRORS:
            # Retried in this thread, which a Ctrl-C interrupts.
            result = call_with_retry(client, fetch, direct, item)
        del future
        yield result


def _start(fetch: Callable[[MlflowClient, T], R], client: MlflowClient, item: T) -> Future[R]:
    """Starts `fetch` in a daemon thread; a process that ends would wait for the threads of an executor."""
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(fetch(client, item))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="proxyflow-prefetch", daemon=True).start()
    return future
