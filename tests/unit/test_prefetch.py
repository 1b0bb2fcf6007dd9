"""What is asked for ahead comes in order, in bounds, and past an outage that its reader waits for."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import count
from typing import cast

import pytest
import requests
from mlflow.tracking import MlflowClient

from proxyflow.tracking.delivery.retrying import with_retries
from proxyflow.tracking.queries.prefetch import CONCURRENT_REQUESTS, prefetch

CLIENT = cast(MlflowClient, object())


def test_answers_come_in_the_order_of_the_items() -> None:
    later = threading.Event()

    def fetch(client: MlflowClient, item: int) -> int:
        if item == 0:
            assert later.wait(10)
        if item == CONCURRENT_REQUESTS - 1:
            later.set()
        return item * item

    assert list(prefetch(CLIENT, fetch, range(10))) == [n * n for n in range(10)]
    assert list(prefetch(CLIENT, fetch, [])) == []


def test_no_more_is_asked_for_than_will_soon_be_used() -> None:
    asked: list[int] = []

    def fetch(client: MlflowClient, item: int) -> int:
        asked.append(item)
        return item

    answers = prefetch(CLIENT, fetch, count())
    assert [next(answers), next(answers)] == [0, 1]
    answers.close()  # type: ignore[attr-defined]
    assert max(asked) <= CONCURRENT_REQUESTS


def test_an_outage_is_outlasted_with_the_patience_of_the_client() -> None:
    left, told = {0: 1, 2: 2}, []

    def fetch(client: MlflowClient, item: int) -> int:
        assert client is CLIENT
        if left.get(item):
            left[item] -= 1
            raise requests.ConnectionError("gone")
        return item

    client = with_retries(CLIENT, 10.0, told.append)
    assert list(prefetch(client, fetch, range(4))) == [0, 1, 2, 3]
    with pytest.raises(requests.ConnectionError):
        list(prefetch(CLIENT, lambda client, item: fetch(client, 7), left.setdefault(7, 9) and [1]))


def test_an_error_that_stays_is_raised() -> None:
    def fetch(client: MlflowClient, item: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(prefetch(with_retries(CLIENT, 10.0), fetch, range(3)))


def test_a_process_that_is_interrupted_does_not_wait_for_what_was_asked_for() -> None:
    code = """
import time
from proxyflow.tracking.queries.prefetch import prefetch
for _ in prefetch(object(), lambda client, item: time.sleep(60 * item), range(3)):
    raise KeyboardInterrupt
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert ended.stderr.strip().endswith("KeyboardInterrupt")
