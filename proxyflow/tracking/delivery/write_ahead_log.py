"""A write-ahead log of each run on disk, so that neither an outage nor a killed process loses a result.

One append-only file per run, below a folder per tracking server: a line with the owner, then one line per record. Only
the last line can be cut off by a crash, and it is ignored when the file is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from proxyflow.core.errors import one_line
from proxyflow.core.files import digest
from proxyflow.core.platform import open_to_append
from proxyflow.tracking.delivery.retrying import print_notice

STATE_VARIABLE = "PROXYFLOW_STATE_DIR"
_reported: set[Path] = (
    set()
)  # folders and files whose errors the user knows: a study has thousands of runs, and one disk


@dataclass(frozen=True)
class Record:
    """Values to write to a run; writing them twice is the same as once.

    Attributes:
        metrics: key, value, time in ms and step of each.
        params, tags: as in MLflow.
        inputs: data sets, with the fields of MLflow's `Dataset` and `context`, their use.
        end: MLflow's status and the time in ms, where this ends the run.
    """

    metrics: tuple[tuple[str, float, int, int], ...] = ()
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: tuple[dict[str, str], ...] = ()
    end: tuple[str, int] | None = None


def log_folder(server: str) -> Path:
    """The folder of a tracking server's logs: below `PROXYFLOW_STATE_DIR`, else the user's state folder.

    Args:
        server: its address, without credentials.
    """
    state = os.environ.get(STATE_VARIABLE)
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    root = Path(state) if state else Path(base) / "proxyflow"
    return root.expanduser() / "journal" / digest(server)[:16]  # earlier versions have undelivered logs there


def kept_artifacts(log: Path) -> Path:
    """The folder of a run's artifacts that their store has refused so far, beside the run's log."""
    return log.with_suffix(".files")


@contextmanager
def delivery_lock(log: Path) -> Iterator[bool]:
    """Locks a pending log, so that one process delivers it.

    Yields:
        Whether this process has the lock, and the log still exists.
    """
    path = log.with_suffix(".lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except OSError:  # held by another process, or a read-only folder, from which no log could be removed
        yield False
        return
    try:
        yield log.exists()
    finally:
        with suppress(OSError):  # Windows keeps a file that is open
            path.unlink(missing_ok=True)
        lock.release()


class WriteAheadLog:
    """The log of one run; created with its first record.

    Where the disk is full, that is reported once, and the run goes on without a log.

    Args:
        path: the file, None for a run whose records need not survive the process.
        owner: the process that writes it.
    """

    def __init__(self, path: Path | None, owner: str) -> None:
        self.path = path
        self.owner = owner
        self._file: int | None = None

    def append(self, record: Record, durable: bool = False) -> None:
        """Adds a record; it survives the process, and where `durable` a power cut."""
        if self.path is None:
            return
        try:
            content = _line(asdict(record))
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open_to_append(self.path)
                if not os.fstat(self._file).st_size:
                    content = _line({"owner": self.owner}) + content
            while content:
                content = content[os.write(self._file, content) :]
            if durable:
                os.fsync(self._file)
        except OSError as error:
            _report_once(
                self.path.parent,
                f"note: no write-ahead log can be kept in {self.path.parent} ({one_line(error)}); results are lost if "
                f"the tracking server fails while this process ends. {STATE_VARIABLE} names another folder",
            )
            with suppress(OSError):
                self.discard()
            self.path = None

    def discard(self) -> None:
        """Closes and deletes the file: everything is delivered, or never will be."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file and keeps it for a later delivery."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(frozen=True)
class PendingLog:
    """The undelivered log of a process that has ended."""

    path: Path
    run_id: str
    owner: str
    records: tuple[Record, ...]


def pending_logs(folder: Path) -> Iterator[PendingLog]:
    """Reads the logs in a folder; a damaged one is skipped, and reported once."""
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
        try:
            lines = path.read_bytes().split(b"\n")[:-1]  # without a line that was cut off
            owner = str(json.loads(lines[0])["owner"]) if lines else ""
            records = tuple(map(_record, lines[1:]))
        except FileNotFoundError:  # another process has delivered it
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            _report_once(
                path,
                f"note: the write-ahead log {path} is damaged ({one_line(error)}): its records of run {path.stem} are "
                "not delivered; repair or delete it",
            )
            continue
        yield PendingLog(path, path.stem, owner, records)


def _report_once(path: Path, message: str) -> None:
    if path not in _reported:
        _reported.add(path)
        print_notice(message)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _record(line: bytes) -> Record:
    value = json.loads(line)
    metrics = tuple((str(key), float(number), int(time), int(step)) for key, number, time, step in value["metrics"])
    end = value["end"]
    return Record(
        metrics, value["params"], value["tags"], tuple(value["inputs"]), (end[0], int(end[1])) if end else None
    )
