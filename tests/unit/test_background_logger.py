"""Records arrive in order, in few calls, and before the run ends; a refused record is an error."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import requests

from proxyflow.tracking.delivery import write_ahead_log
from proxyflow.tracking.delivery.background import MAX_METRICS, BackgroundLogger, Send, merge_batch
from proxyflow.tracking.delivery.write_ahead_log import Record, WriteAheadLog, pending_logs

NO_LOG = WriteAheadLog(None, "")


def metric(step: int) -> Record:
    return Record(metrics=(("loss", float(step), 0, step),))


def steps(record: Record) -> list[int]:
    return [step for _, _, _, step in record.metrics]


def never_responds(answer: threading.Event) -> Send:
    return lambda record: answer.wait(60) and None


def test_everything_arrives_in_order_and_quick_epochs_share_calls() -> None:
    calls: list[list[int]] = []
    logger = BackgroundLogger(lambda record: calls.append(steps(record)), NO_LOG)
    for step in range(50):
        logger.put(metric(step))
    logger.flush()
    assert [step for call in calls for step in call] == list(range(50))
    assert len(calls) <= 3
    logger.flush()
    logger.put(metric(50))
    logger.flush()
    assert calls[-1] == [50]
    logger.close()


def test_no_call_is_larger_than_the_server_takes_and_nothing_follows_an_end() -> None:
    records = [metric(step) for step in range(2 * MAX_METRICS + 1)]
    sizes = []
    while records:
        record, records = merge_batch(records)
        sizes.append(len(record.metrics))
    assert sizes == [MAX_METRICS, MAX_METRICS, 1]
    tags = [Record(tags={str(n): "x"}) for n in range(150)]
    assert len(merge_batch(tags)[0].tags) == 100
    first, rest = merge_batch([metric(0), Record(tags={"status": "finished"}, end=("FINISHED", 1)), metric(1)])
    assert (steps(first), first.tags, first.end) == ([0], {"status": "finished"}, ("FINISHED", 1))
    assert rest == [metric(1)]


def test_records_of_several_threads_are_logged_in_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, calls = threading.Event(), []
    real_mkdir = write_ahead_log.Path.mkdir

    def slow(folder: Path, *given: bool, **more: bool) -> None:
        time.sleep(0.05)  # as a busy disk, so that all of them come to begin the file
        real_mkdir(folder, *given, **more)

    monkeypatch.setattr(write_ahead_log.Path, "mkdir", slow)
    path = tmp_path / "ab.jsonl"

    def send(record: Record) -> None:
        answer.wait(60)
        calls.append(steps(record))

    logger = BackgroundLogger(send, WriteAheadLog(path, "me"))
    threads = [
        threading.Thread(target=lambda k=k: [logger.put(metric(100 * k + n)) for n in range(50)]) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [left] = pending_logs(tmp_path)
    kept = [step for record in left.records for step in steps(record)]
    assert sorted(kept) == [100 * k + n for k in range(4) for n in range(50)]
    answer.set()
    logger.flush()
    logger.close()
    assert [step for call in calls for step in call] == kept


def test_putting_does_not_wait_for_the_server() -> None:
    answer = threading.Event()
    logger = BackgroundLogger(never_responds(answer), NO_LOG)
    begun = time.perf_counter()
    for step in range(10):
        logger.put(metric(step))
    assert time.perf_counter() - begun < 5
    answer.set()
    assert logger.flush()
    logger.close()


def test_epochs_of_a_second_and_more_have_a_call_each() -> None:
    arrived = threading.Semaphore(0)
    calls: list[int] = []

    def send(record: Record) -> None:
        calls.append(len(record.metrics))
        arrived.release()

    logger = BackgroundLogger(send, NO_LOG, interval=0.0)
    for step in range(3):
        logger.put(metric(step))
        assert arrived.acquire(timeout=30)
    logger.flush()
    assert calls == [1, 1, 1]
    logger.close()


def test_a_refusal_is_raised_by_the_next_put_and_by_flush() -> None:
    refused = threading.Event()

    def send(record: Record) -> None:
        refused.set()
        raise PermissionError("not yours")

    logger = BackgroundLogger(send, NO_LOG)
    logger.put(metric(0))
    assert refused.wait(30)
    with pytest.raises(PermissionError, match="not yours"):
        logger.flush()
    with pytest.raises(PermissionError, match="not yours"):
        logger.put(metric(1))
    logger.close()


def test_nothing_is_lost_or_doubled_in_an_outage(tmp_path: Path) -> None:
    arrived: list[int] = []
    failures = iter([requests.ConnectionError("gone")] * 2)

    def send(record: Record) -> None:
        for error in failures:
            raise error
        arrived.extend(steps(record))

    path = tmp_path / "run.jsonl"
    logger = BackgroundLogger(send, WriteAheadLog(path, "me"), interval=0.0)
    for step in range(5):
        logger.put(metric(step))
    assert path.is_file()
    assert logger.flush(timeout=30)
    logger.close()
    assert arrived == list(range(5))
    assert not path.exists()


def test_a_longer_outage_is_reported_while_the_work_continues() -> None:
    reported = threading.Event()
    said: list[str] = []

    def send(record: Record) -> None:
        if not reported.is_set():
            raise requests.ConnectionError("gone")

    def notify(text: str) -> None:
        said.append(text)
        reported.set()

    logger = BackgroundLogger(send, NO_LOG, on_outage=notify)
    logger.put(metric(0))
    assert reported.wait(30)
    assert logger.flush(timeout=30)
    logger.close()
    assert len(said) == 1
    assert "(gone)" in said[0]


def test_flush_with_a_timeout_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    answer = threading.Event()
    path = tmp_path / "run.jsonl"
    logger = BackgroundLogger(never_responds(answer), WriteAheadLog(path, "me"))
    logger.put(metric(0))
    begun = time.perf_counter()
    assert not logger.flush(timeout=0.2)
    logger.close()
    assert time.perf_counter() - begun < 10
    answer.set()
    (left,) = pending_logs(tmp_path)
    assert (left.run_id, left.owner, left.records) == ("run", "me", (metric(0),))


def test_without_records_there_is_no_thread_and_no_file(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    logger = BackgroundLogger(lambda record: None, WriteAheadLog(tmp_path / "run.jsonl", "me"))
    assert logger.flush()
    assert set(threading.enumerate()) <= before
    logger.close()
    assert not list(tmp_path.iterdir())


def test_a_log_is_read_as_it_was_written_up_to_where_a_crash_cut_it(tmp_path: Path) -> None:
    whole = Record(
        metrics=(("loss", 0.1 + 0.2, 17, 3), ("accuracy", 1 / 3, 18, 3)),
        params={"é": "ü"},
        tags={"status": "finished"},
        inputs=({"name": "digits", "context": "training"},),
        end=("FINISHED", 19),
    )
    path = tmp_path / "a.jsonl"
    kept = WriteAheadLog(path, "somebody")
    kept.append(metric(0))
    kept.append(whole, durable=True)
    kept.close()
    (left,) = pending_logs(tmp_path)
    assert left.records == (metric(0), whole)
    path.write_bytes(path.read_bytes()[:-5])
    (left,) = pending_logs(tmp_path)
    assert left.records == (metric(0),)


def test_a_full_disk_is_reported_once_and_the_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(file: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write_ahead_log.os, "write", full)
    arrived: list[int] = []
    logger = BackgroundLogger(lambda record: arrived.extend(steps(record)), WriteAheadLog(tmp_path / "run.jsonl", "me"))
    logger.put(metric(0))
    logger.put(metric(1))
    monkeypatch.undo()
    assert logger.flush()
    logger.close()
    assert arrived == [0, 1]
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert list(tmp_path.iterdir()) == []
