"""Asking for the next pages while one is read: a server has several workers, and one request keeps one of them busy."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from mlflow.tracking import MlflowClient

from proxyflow.tracking.outages import OUTAGES, impatient, insist

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4  # as many as MLflow's server has workers, where nobody chose another number

# Connections that come in one moment are all taken by one of the server's idle workers, and stay with it.
APART_SECONDS = 0.05


def ask_ahead(client: MlflowClient, fetch: Callable[[MlflowClient, T], R], items: Iterable[T]) -> Iterator[R]:
    """What `fetch` gives for each item, in order; at most `AHEAD` of them are asked for and not yet used.

    Args:
        fetch: called in threads, and again with the patience of `client` where it meets an outage.
        items: may be endless; who stops early leaves nothing running but requests that are under way.
    """
    once, left = impatient(client), iter(items)
    pool = ThreadPoolExecutor(AHEAD)
    waiting: deque[tuple[T, Future[R]]] = deque()
    begun = 1
    try:
        while True:
            for item in islice(left, AHEAD - len(waiting)):
                waiting.append((item, pool.submit(fetch, once, item)))
                if begun < AHEAD:
                    begun += 1
                    time.sleep(APART_SECONDS)
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                result = future.result()
            except OUTAGES:
                # Waited for here and not in the thread, since a Ctrl-C comes here, and ends the wait.
                result = insist(client, fetch, once, item)
            del future
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
