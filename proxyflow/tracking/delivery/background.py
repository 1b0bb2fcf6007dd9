"""A background logger of one run, because MLflow's asynchronous logging loses what is unsent in an outage or a kill."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from proxyflow.tracking.delivery.retrying import FOREVER, TRACKING_ERRORS, Backoff, Notify
from proxyflow.tracking.delivery.write_ahead_log import Record, WriteAheadLog

# Several short epochs share one call: even in the background a call costs processor time.
INTERVAL_SECONDS = 1.0
# A log_batch takes 100 params, 100 tags, and 1,000 entries in all.
MAX_METRICS, MAX_ENTRIES = 800, 100

Send = Callable[[Record], None]


class BackgroundLogger:
    """Sends records in order from a thread of its own, and retries through outages.

    Args:
        send: writes a record; a permanent error is raised by the next `put` or `flush`, and ends the sending.
        log: keeps the records that are not sent yet.
        interval: seconds between two calls while nobody flushes.
        on_outage: tells the user of an outage.
    """

    def __init__(
        self, send: Send, log: WriteAheadLog, interval: float = INTERVAL_SECONDS, on_outage: Notify | None = None
    ) -> None:
        self._send = send
        self._on_outage = on_outage
        self._log = log
        self._interval = interval
        self._queue: list[Record] = []
        self._sending = False
        self._put_lock = threading.Lock()  # several threads may log to one run
        self._changed = threading.Condition()
        self._flushing = threading.Event()
        self._error: BaseException | None = None
        self._keep_log = False
        self._thread: threading.Thread | None = None

    def put(self, record: Record) -> None:
        """Queues a record and returns at once; the end of a run is on disk by then.

        Raises:
            Exception: the permanent error of an earlier record.
        """
        if self._error is not None:
            raise self._error
        with self._put_lock:
            self._log.append(record, durable=record.end is not None)
            with self._changed:
                self._queue.append(record)
                self._changed.notify_all()
                if self._thread is None:
                    # A daemon, so that a process can end during an outage.
                    self._thread = threading.Thread(target=self._work, name="proxyflow-background-logger", daemon=True)
                    self._thread.start()

    def keep_log(self, last: Record | None) -> None:
        """Keeps the log for a later delivery, with a last record that is not sent now."""
        if last is not None:
            self._log.append(last, durable=True)
        self._keep_log = True

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything is sent.

        Args:
            timeout: in seconds; None waits for ever.

        Returns:
            Whether everything was sent in time.

        Raises:
            Exception: the permanent error of a record.
        """
        self._flushing.set()
        try:
            with self._changed:
                limit = None if timeout is None or timeout == FOREVER else timeout
                sent = self._changed.wait_for(lambda: self._error or not (self._queue or self._sending), limit)
        finally:
            self._flushing.clear()
        if self._error is not None:
            raise self._error
        return bool(sent)

    def close(self) -> None:
        """Ends the thread; the log is deleted unless it has undelivered records."""
        with self._changed:
            thread, self._thread = self._thread, None
            done = (not self._queue and not self._sending) or self._error is not None
            self._changed.notify_all()
        if done and thread is not None:
            thread.join()
        if done and not self._keep_log:
            self._log.discard()
        else:
            self._log.close()

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                while not self._queue and self._thread is me:
                    self._changed.wait()
                if self._thread is not me:
                    return
                batch, self._queue = merge_batch(self._queue)
                self._sending = True
            backoff = Backoff(FOREVER, self._on_outage)
            while True:
                try:
                    self._send(batch)
                    break
                except Exception as error:
                    delay = backoff.next_delay(error) if isinstance(error, TRACKING_ERRORS) else None
                    with self._changed:
                        if delay is None:
                            self._error, self._sending = error, False
                            self._changed.notify_all()
                            return
                        self._changed.wait_for(lambda: self._thread is not me, delay)
                        if self._thread is not me:
                            return
            with self._changed:
                self._sending = False
                self._changed.notify_all()
            self._flushing.wait(self._interval)


def merge_batch(records: Sequence[Record]) -> tuple[Record, list[Record]]:
    """Merges the first records into one that fits into a call, and returns the others beside it.

    The end of a run goes with what precedes it, so that a run that is seen to be finished is complete.
    """
    metrics = list(records[0].metrics)
    params, tags, inputs, end = dict(records[0].params), dict(records[0].tags), records[0].inputs, records[0].end
    merged = 1
    for record in records[1:]:
        too_many = len(metrics) + len(record.metrics) > MAX_METRICS
        if end or too_many or max(len(params | record.params), len(tags | record.tags)) > MAX_ENTRIES:
            break
        metrics += record.metrics
        params |= record.params
        tags |= record.tags
        inputs, end = (*inputs, *record.inputs), record.end
        merged += 1
    return Record(tuple(metrics), params, tags, inputs, end), list(records[merged:])


def write_record(client: MlflowClient, run_id: str, record: Record) -> None:
    """Writes a record to a run, in several calls where it is too large for one; a repetition changes nothing."""
    if record.inputs:
        client.log_inputs(run_id, datasets=[_dataset_input(each) for each in record.inputs])
    client.log_batch(
        run_id,
        [Metric(*each) for each in record.metrics],
        [Param(*each) for each in record.params.items()],
        [RunTag(*each) for each in record.tags.items()],
        synchronous=True,  # whatever MLFLOW_ENABLE_ASYNC_LOGGING says: it would lose what an outage refuses
    )
    if record.end is not None:
        status, time = record.end
        client.set_terminated(run_id, status=status, end_time=time)


def _dataset_input(values: dict[str, str]) -> DatasetInput:
    fields = dict(values)
    context = InputTag("mlflow.data.context", fields.pop("context"))
    return DatasetInput(Dataset(**fields), [context])
