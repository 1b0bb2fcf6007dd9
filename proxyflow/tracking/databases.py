"""Opening a store that is a database, where MLflow fails if two programs create its tables at the same time.

MLflow creates the tables of a tracking store in dozens of steps that take seconds together, without a lock: often both
programs fail, and leave tables that neither can repair. So a new SQLite file is created beside its place and appears
complete, and a store that another program is creating is waited for.

Importing this module imports MLflow's whole store, over a second.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import sqlalchemy
from alembic.util import CommandError
from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from proxyflow.core.errors import ESCAPING, TrackingUnavailable, one_line
from proxyflow.core.files import digest
from proxyflow.core.platform import hard_link

# Between two steps of MLflow's creation lies the import of alembic: half a second, more on a busy machine.
SETTLE_SECONDS = 4.0
POLL_SECONDS = 0.25
LOCKED_SECONDS = 20
CREATION_LOCK_SECONDS = 60.0  # of another process


@dataclass(frozen=True)
class DatabaseState:
    """How far the creation of a store is: its tables, and alembic's revisions."""

    tables: frozenset[str]
    revisions: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether it has all of MLflow's tables."""
        return set(Base.metadata.tables) <= self.tables


def open_database(uri: str, label: str, timeout: int) -> MlflowClient:
    """A client of a store that is a database; creates the store where there is none.

    Args:
        uri: of the store, as MLflow takes it.
        label: the same without credentials, for messages.
        timeout: seconds in which it must respond.

    Raises:
        TrackingUnavailable: the address is invalid, nothing responds there in time, or its tables cannot be created.
        MlflowException: MLflow refuses it, for instance as one of another version.
    """
    url = _parsed(uri, label)

    def read_state() -> DatabaseState:
        return _read_state(url, label, timeout)

    # Reading the state of a missing file would create it.
    if not _is_absent(url) and (state := read_state()).is_complete:
        return _opened(uri, label, state, read_state)
    with _creation_lock(label):
        _create_sqlite(url)
        state = read_state()
        # Another program that is creating it is waited for, until nothing changes any more.
        while _is_persistent(url) and not state.is_complete and state != (state := _wait_for_change(state, read_state)):
            pass
        return _opened(uri, label, state, read_state)


def _opened(uri: str, label: str, state: DatabaseState, read_state: Callable[[], DatabaseState]) -> MlflowClient:
    """MLflow's client, retried as long as another program changes the store."""
    while True:
        try:
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
            return client
        except (MlflowException, CommandError, SQLAlchemyError) as error:
            if state != (state := _wait_for_change(state, read_state)):
                continue
            if isinstance(error, MlflowException):
                raise
            raise TrackingUnavailable(
                f"the tracking store {label} lacks tables that MLflow cannot create ({one_line(error)}): delete it "
                "if it is empty, else upgrade it (mlflow db upgrade)"
            ) from None


def _parsed(uri: str, label: str) -> sqlalchemy.URL:
    try:
        url = sqlalchemy.make_url(uri)
    except ValueError:
        raise TrackingUnavailable(
            f"the tracking store {label} has a port that is no number: correct it; {ESCAPING}"
        ) from None
    except SQLAlchemyError:
        raise TrackingUnavailable(
            f"the tracking store {label} is no database address: write it as "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:///FILE"
        ) from None
    # The text after the first @ would be taken for the host, and shown in errors.
    if not url.drivername.startswith("sqlite") and "@" in f"{url.host}{url.database}":
        raise TrackingUnavailable(f"the tracking store {label} has an address with more than one @: {ESCAPING}")
    return url


@contextmanager
def _creation_lock(label: str) -> Iterator[None]:
    """Lets one process of this host at a time create a store.

    Raises:
        TrackingUnavailable: another one holds the lock for too long.
    """
    # The lock's name is public, so it is no digest of an address with a password.
    lock = FileLock(Path(tempfile.gettempdir()) / f"proxyflow-{digest(label)[:16]}.lock")
    try:
        lock.acquire(timeout=CREATION_LOCK_SECONDS)
    except Timeout:
        raise TrackingUnavailable(
            f"another process has been opening or creating the tracking store {label} for "
            f"{CREATION_LOCK_SECONDS:g} s: try again when it has ended (its lock is {lock.lock_file})"
        ) from None
    except OSError:
        pass  # another user's lock, or a read-only folder
    try:
        yield
    finally:
        lock.release()


def _is_persistent(url: sqlalchemy.URL) -> bool:
    """Whether it exists outside of this process."""
    return not url.drivername.startswith("sqlite") or url.database not in (None, "", ":memory:")


def _is_absent(url: sqlalchemy.URL) -> bool:
    """Whether it is a file that does not exist yet."""
    return url.drivername.startswith("sqlite") and _is_persistent(url) and not Path(str(url.database)).exists()


def _create_sqlite(url: sqlalchemy.URL) -> None:
    """Creates an SQLite store that does not exist yet; the next step reports what prevents that."""
    if not _is_absent(url):
        return
    path = Path(str(url.database)).absolute()
    with suppress(OSError, SQLAlchemyError, MlflowException):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            store = SqlAlchemyStore(f"sqlite:///{temporary}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
            store.engine.dispose()
            # Unlike a rename, a link never replaces what another program has created meanwhile.
            hard_link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _read_state(url: sqlalchemy.URL, label: str, timeout: int) -> DatabaseState:
    """The present state of a store."""
    try:
        limits = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "sqlite": "timeout"}
        limit = limits.get(url.get_backend_name())
        # Whoever creates the tables may lock the file for longer.
        seconds = max(timeout, LOCKED_SECONDS) if limit == "timeout" else timeout
        engine = sqlalchemy.create_engine(url, connect_args={limit: seconds} if limit else {})
        try:
            with engine.connect() as connection:
                if url.drivername.startswith("postgresql"):
                    connection.execute(sqlalchemy.text(f"SET LOCAL statement_timeout = {timeout * 1000}"))
                tables = frozenset(sqlalchemy.inspect(connection).get_table_names())
                query = sqlalchemy.text("SELECT version_num FROM alembic_version")
                revisions = connection.scalars(query).all() if "alembic_version" in tables else ()
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise TrackingUnavailable(
            f"the tracking store {label} needs the Python package {error.name}: install it"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        reason = one_line(error).partition(" [SQL: ")[0].partition(" (Background on")[0]
        raise TrackingUnavailable(
            f"the tracking store {label} cannot be opened within {timeout} s ({reason}): "
            "start it, or set MLFLOW_TRACKING_URI to one that works"
        ) from None
    return DatabaseState(tables, tuple(revisions))


def _wait_for_change(state: DatabaseState, read_state: Callable[[], DatabaseState]) -> DatabaseState:
    """The state of a store once it has changed, or after so long that no program seems to be changing it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        time.sleep(POLL_SECONDS)
        if (now := read_state()) != state or time.monotonic() > deadline:
            return now
