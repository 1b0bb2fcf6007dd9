"""What is said of a run, kept on disk until the server has it, so that neither an outage nor a kill loses a result.

One append-only file per run, below a folder per tracking server: a line that says whose it is, then one line per
record. A line that was cut off by a crash is the last one, and is left out when the file is read.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from proxyflow.errors import one_line
from proxyflow.files import digest

STATE_VARIABLE = "PROXYFLOW_STATE_DIR"
# Folders that take no journal, as a study has thousands of runs and one disk, and journals that cannot be read.
_told: set[Path] = set()


@dataclass(frozen=True)
class Record:
    """Something to write to a run; writing it twice is the same as once.

    Attributes:
        metrics: key, value, time in ms and step of each.
        params, tags: as MLflow has them.
        inputs: data sets, with the fields of MLflow's `Dataset` and, as `context`, what they were used for.
        end: MLflow's status and the time in ms, where this ends the run.
    """

    metrics: tuple[tuple[str, float, int, int], ...] = ()
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: tuple[dict[str, str], ...] = ()
    end: tuple[str, int] | None = None


def folder_of(server: str) -> Path:
    """Where the journals of a tracking server are: below `PROXYFLOW_STATE_DIR`, else the user's state folder.

    Args:
        server: its address, without credentials.
    """
    state = os.environ.get(STATE_VARIABLE)
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    root = Path(state) if state else Path(base) / "proxyflow"
    return root.expanduser() / "journal" / digest(server)[:16]


def files_of(journal: Path) -> Path:
    """Where a run's artifacts are kept, beside its journal, until their store takes them."""
    return journal.with_suffix(".files")


@contextmanager
def alone_with(journal: Path) -> Iterator[bool]:
    """Keeps other processes from delivering a journal meanwhile; gives whether it is there, and nobody else at it."""
    path = journal.with_suffix(".lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except OSError:  # another has it, or nothing can be removed there, either
        yield False
        return
    try:
        yield journal.exists()
    finally:
        path.unlink(missing_ok=True)
        lock.release()


class Journal:
    """The journal of one run; made with its first record.

    Args:
        path: the file, None for a run whose records need not survive the process.
        owner: the process that writes it.

    A disk that takes no more is said once; the run goes on without a journal, since its server may be well.
    """

    def __init__(self, path: Path | None, owner: str) -> None:
        self.path = path
        self.owner = owner
        self._file: int | None = None

    def append(self, record: Record, durable: bool = False) -> None:
        """Adds a record; it survives the process, and where `durable` the machine."""
        if self.path is None:
            return
        try:
            lines = [_line(asdict(record))]
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                if not os.fstat(self._file).st_size:
                    lines.insert(0, _line({"owner": self.owner}))
            _write_all(self._file, b"".join(lines))
            if durable:
                os.fsync(self._file)
        except OSError as error:
            if self.path.parent not in _told:
                _told.add(self.path.parent)
                print(
                    f"note: no journal can be kept in {self.path.parent} ({one_line(error)}); should the tracking "
                    f"server go away now, results are lost with this process. {STATE_VARIABLE} names another folder",
                    file=sys.stderr,
                )
            with suppress(OSError):  # a disk that refuses may refuse this, too
                self.discard()
            self.path = None

    def discard(self) -> None:
        """Closes and removes the file: the server has everything, or never will."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file and leaves it, for whoever delivers it later."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


@dataclass(frozen=True)
class Left:
    """A journal that a process left behind."""

    path: Path
    run_id: str
    owner: str
    records: tuple[Record, ...]


def left_behind(folder: Path) -> Iterator[Left]:
    """Reads the journals in a folder; one that cannot be read is left out, and said once."""
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
        try:
            lines = path.read_bytes().split(b"\n")[:-1]  # what has no line end was cut off
            owner = str(json.loads(lines[0])["owner"]) if lines else ""
            records = tuple(map(_record, lines[1:]))
        except FileNotFoundError:  # another process has delivered it
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            if path not in _told:
                _told.add(path)
                print(
                    f"note: the journal {path} is damaged ({one_line(error)}): what it holds of run {path.stem} is not "
                    "delivered; mend or delete it",
                    file=sys.stderr,
                )
            continue
        yield Left(path, path.stem, owner, records)


def _record(line: bytes) -> Record:
    value = json.loads(line)
    metrics = tuple((str(key), float(number), int(time), int(step)) for key, number, time, step in value["metrics"])
    end = value["end"]
    return Record(
        metrics, value["params"], value["tags"], tuple(value["inputs"]), (end[0], int(end[1])) if end else None
    )
