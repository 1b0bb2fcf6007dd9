"""What is put in arrives, in order, in few calls, and before the run ends; what cannot be sent is said."""

from __future__ import annotations

import threading
import time

import pytest
from mlflow.entities import Metric

from proxyflow.tracking import outbox
from proxyflow.tracking.outbox import MAX_PER_CALL, Outbox


def metric(step: int) -> Metric:
    return Metric("loss", float(step), 0, step)


def test_everything_arrives_in_order_and_quick_epochs_share_calls() -> None:
    calls: list[list[int]] = []
    box = Outbox(lambda metrics: calls.append([m.step for m in metrics]))
    for step in range(50):
        box.put([metric(step)])
    box.flush()
    assert [step for call in calls for step in call] == list(range(50))
    assert len(calls) <= 3
    box.flush()
    box.put([metric(50)])
    box.flush()
    assert calls[-1] == [50]


def test_no_call_is_larger_than_the_server_takes() -> None:
    sizes: list[int] = []
    box = Outbox(lambda metrics: sizes.append(len(metrics)))
    box.put([metric(step) for step in range(2 * MAX_PER_CALL + 1)])
    box.flush()
    assert sum(sizes) == 2 * MAX_PER_CALL + 1
    assert max(sizes) == MAX_PER_CALL


def test_putting_does_not_wait_for_the_server() -> None:
    answer = threading.Event()
    box = Outbox(lambda metrics: answer.wait(30) and None)
    begun = time.perf_counter()
    for step in range(10):
        box.put([metric(step)])
    assert time.perf_counter() - begun < 5
    answer.set()
    box.flush()


def test_epochs_of_a_second_and_more_have_a_call_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "INTERVAL_SECONDS", 0.0)
    arrived = threading.Semaphore(0)
    calls: list[int] = []

    def send(metrics: list[Metric]) -> None:
        calls.append(len(metrics))
        arrived.release()

    box = Outbox(send)
    for step in range(3):
        box.put([metric(step)])
        assert arrived.acquire(timeout=30)
    box.flush()
    assert calls == [1, 1, 1]


def test_a_server_that_refuses_is_said_at_the_next_put_and_at_the_end() -> None:
    refused = threading.Event()

    def send(metrics: list[Metric]) -> None:
        refused.set()
        raise ConnectionError("gone")

    box = Outbox(send)
    box.put([metric(0)])
    assert refused.wait(30)
    with pytest.raises(ConnectionError, match="gone"):
        box.flush()
    with pytest.raises(ConnectionError, match="gone"):
        box.put([metric(1)])


def test_who_is_in_a_hurry_does_not_wait_for_a_server_that_hangs() -> None:
    answer = threading.Event()
    box = Outbox(lambda metrics: answer.wait(60) and None)
    box.put([metric(0)])
    begun = time.perf_counter()
    box.flush(timeout=0.2)
    assert time.perf_counter() - begun < 10
    answer.set()
    box.flush()


def test_nothing_put_in_costs_no_thread() -> None:
    before = threading.active_count()
    Outbox(lambda metrics: None).flush()
    assert threading.active_count() == before
