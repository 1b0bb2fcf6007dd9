"""Asking for the next pages while one is read: a server has several workers, and one request keeps one of them busy."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
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
    waiting: deque[tuple[T, Future[R]]] = deque()
    begun = 1
    while True:
        for item in islice(left, AHEAD - len(waiting)):
            waiting.append((item, _begun(fetch, once, item)))
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


def _begun(fetch: Callable[[MlflowClient, T], R], client: MlflowClient, item: T) -> Future[R]:
    """What `fetch` will give, in a thread that a process which ends does not wait for, as it would for a pool's."""
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(fetch(client, item))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="proxyflow-ahead", daemon=True).start()
    return future
