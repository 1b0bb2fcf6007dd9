"""What is written to a run, on its way to the server while the work goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TypeVar

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from proxyflow.tracking.journal import Journal, Record
from proxyflow.tracking.outages import FOREVER, OUTAGES, Waiting

# A training whose epochs are shorter than this shares one call between several: even in the background a call
# takes processor time, which a short training would feel.
INTERVAL_SECONDS = 1.0
# What one log_batch takes: 100 params, 100 tags, and 1,000 of all together.
MAX_METRICS, MAX_ENTRIES = 800, 100

Send = Callable[[Record], None]
T = TypeVar("T")


class Outbox:
    """Sends what is put in, in order, from a thread of its own; an outage is waited for.

    Args:
        send: writes a record; an error that does not pass is raised at the next `put` or `flush`, and ends the sending.
        journal: keeps what is not sent yet.
        interval: seconds between two calls while nobody waits.
        say: tells the user of an outage.
    """

    def __init__(
        self, send: Send, journal: Journal, interval: float = INTERVAL_SECONDS, say: Callable[[str], None] | None = None
    ) -> None:
        self._send = send
        self._say = say
        self._journal = journal
        self._interval = interval
        self._waiting: list[Record] = []
        self._sending = False
        self._putting = threading.Lock()  # several threads may speak of one run
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._error: BaseException | None = None
        self._kept = False
        self._thread: threading.Thread | None = None

    def put(self, record: Record) -> None:
        """Takes a record and returns at once; the end of a run is on the disk by then.

        Raises:
            Exception: what an earlier attempt to send came to.
        """
        if self._error is not None:
            raise self._error
        with self._putting:
            self._journal.append(record, durable=record.end is not None)
            with self._changed:
                self._waiting.append(record)
                self._changed.notify_all()
                if self._thread is None:
                    # A daemon: a process that has to end does not wait for a server that has gone away.
                    self._thread = threading.Thread(target=self._work, name="proxyflow-outbox", daemon=True)
                    self._thread.start()

    def keep(self, record: Record | None) -> None:
        """Leaves the journal for whoever delivers the run later, with a record that must not be sent before."""
        if record is not None:
            self._journal.append(record, durable=True)
        self._kept = True

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything is sent.

        Args:
            timeout: wait no longer than so many seconds; None is for ever.

        Returns:
            Whether everything was sent in that time.

        Raises:
            Exception: something could not be sent, and will not be.
        """
        self._hurry.set()
        try:
            with self._changed:
                limit = None if timeout is None or timeout == FOREVER else timeout
                done = self._changed.wait_for(lambda: self._error or not (self._waiting or self._sending), limit)
        finally:
            self._hurry.clear()
        if self._error is not None:
            raise self._error
        return bool(done)

    def close(self) -> None:
        """Ends the thread; what is not sent stays in the journal, which goes where everything was."""
        with self._changed:
            thread, self._thread = self._thread, None
            delivered = not self._waiting and not self._sending
            self._changed.notify_all()
        ended = delivered or self._error is not None
        if ended and thread is not None:
            thread.join()
        if ended and not self._kept:
            self._journal.discard()
        else:
            self._journal.close()

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                while not self._waiting and self._thread is me:
                    self._changed.wait()
                if self._thread is not me:
                    return
                batch, self._waiting = take(self._waiting)
                self._sending = True
            waiting = Waiting(FOREVER, self._say)
            while True:
                try:
                    self._send(batch)
                except Exception as error:
                    pause = waiting.pause_after(error) if isinstance(error, OUTAGES) else None
                    if pause is None:
                        self._stop(error)
                        return
                    with self._changed:
                        self._changed.wait_for(lambda: self._thread is not me, pause)
                    if self._thread is not me:
                        return
                else:
                    break
            with self._changed:
                self._sending = False
                self._changed.notify_all()
            self._hurry.wait(self._interval)

    def _stop(self, error: BaseException) -> None:
        with self._changed:
            self._error, self._sending = error, False
            self._changed.notify_all()


def take(records: Sequence[Record]) -> tuple[Record, list[Record]]:
    """As many of the first records as one call takes, as one record, and the rest.

    An end goes with what is before it, so that whoever sees a run finished sees all of it.
    """
    metrics = list(records[0].metrics)
    params, tags, inputs, end = dict(records[0].params), dict(records[0].tags), records[0].inputs, records[0].end
    taken = 1
    for record in records[1:]:
        too_many = len(metrics) + len(record.metrics) > MAX_METRICS
        if end or too_many or max(len(params | record.params), len(tags | record.tags)) > MAX_ENTRIES:
            break
        metrics += record.metrics
        params |= record.params
        tags |= record.tags
        inputs, end = (*inputs, *record.inputs), record.end
        taken += 1
    return Record(tuple(metrics), params, tags, inputs, end), list(records[taken:])


def write(client: MlflowClient, run_id: str, record: Record) -> None:
    """Writes a record to a run; to write it again changes nothing."""
    if record.inputs:
        client.log_inputs(run_id, datasets=[_data_set(each) for each in record.inputs])
    metrics = _pieces([Metric(*each) for each in record.metrics], MAX_METRICS)
    params = _pieces([Param(*each) for each in record.params.items()], MAX_ENTRIES)
    tags = _pieces([RunTag(*each) for each in record.tags.items()], MAX_ENTRIES)
    # The last call has the last tags, among which is the status.
    calls = zip_longest(reversed(metrics), reversed(params), reversed(tags), fillvalue=())
    for some in reversed(list(calls)):
        client.log_batch(run_id, *map(list, some))
    if record.end is not None:
        status, time = record.end
        client.set_terminated(run_id, status=status, end_time=time)


def _pieces(entries: Sequence[T], size: int) -> list[Sequence[T]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def _data_set(told: dict[str, str]) -> DatasetInput:
    fields = dict(told)
    context = InputTag("mlflow.data.context", fields.pop("context"))
    return DatasetInput(Dataset(**fields), [context])
