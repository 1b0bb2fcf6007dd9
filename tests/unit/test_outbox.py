"""What is put in arrives, in order, in few calls, and before the run ends; what cannot be sent is said."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import requests

from proxyflow.tracking import journal
from proxyflow.tracking.journal import Journal, Record, left_behind
from proxyflow.tracking.outbox import MAX_METRICS, Outbox, Send, take

UNKEPT = Journal(None, "")


def metric(step: int) -> Record:
    return Record(metrics=(("loss", float(step), 0, step),))


def steps(record: Record) -> list[int]:
    return [step for _, _, _, step in record.metrics]


def never_answers(answer: threading.Event) -> Send:
    return lambda record: answer.wait(60) and None


def test_everything_arrives_in_order_and_quick_epochs_share_calls() -> None:
    calls: list[list[int]] = []
    box = Outbox(lambda record: calls.append(steps(record)), UNKEPT)
    for step in range(50):
        box.put(metric(step))
    box.flush()
    assert [step for call in calls for step in call] == list(range(50))
    assert len(calls) <= 3
    box.flush()
    box.put(metric(50))
    box.flush()
    assert calls[-1] == [50]
    box.close()


def test_no_call_is_larger_than_the_server_takes_and_nothing_follows_an_end() -> None:
    records = [metric(step) for step in range(2 * MAX_METRICS + 1)]
    sizes = []
    while records:
        record, records = take(records)
        sizes.append(len(record.metrics))
    assert sizes == [MAX_METRICS, MAX_METRICS, 1]
    tags = [Record(tags={str(n): "x"}) for n in range(150)]
    assert len(take(tags)[0].tags) == 100
    first, rest = take([metric(0), Record(tags={"status": "finished"}, end=("FINISHED", 1)), metric(1)])
    assert (steps(first), first.tags, first.end) == ([0], {"status": "finished"}, ("FINISHED", 1))
    assert rest == [metric(1)]


def test_what_several_threads_say_of_a_run_is_kept_in_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, calls = threading.Event(), []
    begun = journal.Path.mkdir

    def slow(folder: Path, *given: bool, **more: bool) -> None:
        time.sleep(0.05)  # as a busy disk, so that all of them come to begin the file
        begun(folder, *given, **more)

    monkeypatch.setattr(journal.Path, "mkdir", slow)
    path = tmp_path / "ab.jsonl"

    def send(record: Record) -> None:
        answer.wait(60)
        calls.append(steps(record))

    box = Outbox(send, Journal(path, "me"))
    threads = [threading.Thread(target=lambda k=k: [box.put(metric(100 * k + n)) for n in range(50)]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [left] = left_behind(tmp_path)
    kept = [step for record in left.records for step in steps(record)]
    assert sorted(kept) == [100 * k + n for k in range(4) for n in range(50)]
    answer.set()
    box.flush()
    box.close()
    assert [step for call in calls for step in call] == kept


def test_putting_does_not_wait_for_the_server() -> None:
    answer = threading.Event()
    box = Outbox(never_answers(answer), UNKEPT)
    begun = time.perf_counter()
    for step in range(10):
        box.put(metric(step))
    assert time.perf_counter() - begun < 5
    answer.set()
    assert box.flush()
    box.close()


def test_epochs_of_a_second_and_more_have_a_call_each() -> None:
    arrived = threading.Semaphore(0)
    calls: list[int] = []

    def send(record: Record) -> None:
        calls.append(len(record.metrics))
        arrived.release()

    box = Outbox(send, UNKEPT, interval=0.0)
    for step in range(3):
        box.put(metric(step))
        assert arrived.acquire(timeout=30)
    box.flush()
    assert calls == [1, 1, 1]
    box.close()


def test_what_the_server_refuses_is_said_at_the_next_put_and_at_the_end() -> None:
    refused = threading.Event()

    def send(record: Record) -> None:
        refused.set()
        raise PermissionError("not yours")

    box = Outbox(send, UNKEPT)
    box.put(metric(0))
    assert refused.wait(30)
    with pytest.raises(PermissionError, match="not yours"):
        box.flush()
    with pytest.raises(PermissionError, match="not yours"):
        box.put(metric(1))
    box.close()


def test_an_outage_is_waited_for_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    arrived: list[int] = []
    failures = iter([requests.ConnectionError("gone")] * 2)

    def send(record: Record) -> None:
        for error in failures:
            raise error
        arrived.extend(steps(record))

    path = tmp_path / "run.jsonl"
    box = Outbox(send, Journal(path, "me"), interval=0.0)
    for step in range(5):
        box.put(metric(step))
    assert path.is_file()
    assert box.flush(timeout=30)
    box.close()
    assert arrived == list(range(5))
    assert not path.exists()


def test_an_outage_that_lasts_is_told_while_the_work_goes_on() -> None:
    told = threading.Event()
    said: list[str] = []

    def send(record: Record) -> None:
        if not told.is_set():
            raise requests.ConnectionError("gone")

    def say(text: str) -> None:
        said.append(text)
        told.set()

    box = Outbox(send, UNKEPT, say=say)
    box.put(metric(0))
    assert told.wait(30)
    assert box.flush(timeout=30)
    box.close()
    assert said[0].startswith("the tracking server does not answer (gone)")
    assert len(said) == 1


def test_who_is_in_a_hurry_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    answer = threading.Event()
    path = tmp_path / "run.jsonl"
    box = Outbox(never_answers(answer), Journal(path, "me"))
    box.put(metric(0))
    begun = time.perf_counter()
    assert not box.flush(timeout=0.2)
    box.close()
    assert time.perf_counter() - begun < 10
    answer.set()
    (left,) = left_behind(tmp_path)
    assert (left.run_id, left.owner, left.records) == ("run", "me", (metric(0),))


def test_nothing_put_in_costs_no_thread_and_no_file(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    box = Outbox(lambda record: None, Journal(tmp_path / "run.jsonl", "me"))
    assert box.flush()
    assert set(threading.enumerate()) <= before
    box.close()
    assert not list(tmp_path.iterdir())


def test_a_journal_is_read_as_it_was_written_up_to_where_a_crash_cut_it(tmp_path: Path) -> None:
    whole = Record(
        metrics=(("loss", 0.1 + 0.2, 17, 3), ("accuracy", 1 / 3, 18, 3)),
        params={"é": "ü"},
        tags={"status": "finished"},
        inputs=({"name": "digits", "context": "training"},),
        end=("FINISHED", 19),
    )
    path = tmp_path / "a.jsonl"
    kept = Journal(path, "somebody")
    kept.append(metric(0))
    kept.append(whole, durable=True)
    kept.close()
    (left,) = left_behind(tmp_path)
    assert left.records == (metric(0), whole)
    path.write_bytes(path.read_bytes()[:-5])
    (left,) = left_behind(tmp_path)
    assert left.records == (metric(0),)


def test_a_disk_that_takes_no_more_is_said_once_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(file: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "write", full)
    arrived: list[int] = []
    box = Outbox(lambda record: arrived.extend(steps(record)), Journal(tmp_path / "run.jsonl", "me"))
    box.put(metric(0))
    box.put(metric(1))
    monkeypatch.undo()
    assert box.flush()
    box.close()
    assert arrived == [0, 1]
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert list(tmp_path.iterdir()) == []
