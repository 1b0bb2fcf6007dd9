"""The runs that this process writes, and the thread that renews their heartbeats for other hosts to see."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from mlflow.tracking import MlflowClient

from proxyflow.tracking import names
from proxyflow.tracking.delivery.retrying import without_retries
from proxyflow.tracking.runs.owner import HEARTBEAT_SECONDS, heartbeat_now


class OpenRuns:
    """Ids of the runs that this process writes; each has a heartbeat from `add` to `discard`."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = without_retries(client)
        self._ids: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._ids

    def add(self, run_id: str) -> None:
        """Begins the heartbeat of a run."""
        with self._lock:
            self._ids.add(run_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="proxyflow-heartbeat", daemon=True)
                self._thread.start()

    def discard(self, run_id: str) -> None:
        """Ends the heartbeat of a run."""
        self._ids.discard(run_id)

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            with self._lock:
                if not self._ids:
                    self._thread = None
                    return
            for run_id in list(self._ids):
                with suppress(Exception):  # after an outage comes the next heartbeat
                    self._client.set_tag(run_id, names.HEARTBEAT, heartbeat_now())
