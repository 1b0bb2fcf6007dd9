"""Opening a store that is a database, also where somebody else is making its tables at this moment.

MLflow makes the tables of a new store in dozens of steps that take seconds together, and two programs that do so at
once trip over each other: often both fail, and leave what neither can mend. So a new SQLite file is made beside its
place and appears whole, and a store that another program is making is left to it until it is done.

Importing this module takes MLflow's whole store along, over a second: it is for those who have no server.
"""

from __future__ import annotations

import os
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

from proxyflow.errors import ESCAPING, TrackingUnavailable, one_line
from proxyflow.files import digest

# Between two steps of MLflow's making may lie the import of alembic: half a second, more where the machine is busy.
SETTLE_SECONDS = 4.0
LOOK_SECONDS = 0.25
LOCKED_SECONDS = 20
ALONE_SECONDS = 60.0  # of another process, which needs some to make a store


@dataclass(frozen=True)
class State:
    """How far a store's making has come: its tables, and the revision that alembic noted."""

    tables: frozenset[str]
    revisions: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it has all the tables that MLflow wants."""
        return set(Base.metadata.tables) <= self.tables


def open_database(uri: str, named: str, reach_seconds: int) -> MlflowClient:
    """A client of a store that is a database; makes the store where there is none.

    Args:
        uri: of the store, as MLflow takes it.
        named: the same without credentials, for messages.
        reach_seconds: how long it may take to answer.

    Raises:
        TrackingUnavailable: the address is none, nothing answers there in time, or its tables cannot be made.
        MlflowException: MLflow refuses it, for instance as one of another version.
    """
    url = _parsed(uri, named)

    def look() -> State:
        return _reach(url, named, reach_seconds)

    # A file that is looked at would be there from then on.
    if not _is_absent(url) and (state := look()).is_whole:
        return _opened(uri, named, state, look)
    with _alone(named):
        _make_whole(url)
        state = look()
        # Who began to make it is left to it, until nothing happens there any more.
        while _lasts(url) and not state.is_whole and state != (state := _later(state, look)):
            pass
        return _opened(uri, named, state, look)


def _opened(uri: str, named: str, state: State, look: Callable[[], State]) -> MlflowClient:
    """MLflow's client, tried again as long as somebody else changes the store."""
    while True:
        try:
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
            return client
        except (MlflowException, CommandError, SQLAlchemyError) as error:
            if state != (state := _later(state, look)):
                continue
            if isinstance(error, MlflowException):
                raise
            raise TrackingUnavailable(
                f"the tracking store {named} lacks tables that MLflow cannot make ({one_line(error)}): delete it "
                "if it holds nothing yet, else bring it up to date (mlflow db upgrade)"
            ) from None


def _parsed(uri: str, named: str) -> sqlalchemy.URL:
    try:
        url = sqlalchemy.make_url(uri)
    except ValueError:
        raise TrackingUnavailable(
            f"the tracking store {named} has a port that is no number: give one; {ESCAPING}"
        ) from None
    except SQLAlchemyError:
        raise TrackingUnavailable(
            f"the tracking store {named} is no address of a database: write it as "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:///FILE"
        ) from None
    # What is after the first @ would be looked up as a host, and named in errors.
    if not url.drivername.startswith("sqlite") and "@" in f"{url.host}{url.database}":
        raise TrackingUnavailable(f"the tracking store {named} has an address with more than one @: {ESCAPING}")
    return url


@contextmanager
def _alone(named: str) -> Iterator[None]:
    """Lets one process of this host at a time make a store.

    Raises:
        TrackingUnavailable: another one does not come to an end.
    """
    # Everybody can read the lock's name, and could try passwords on a digest of one.
    lock = FileLock(Path(tempfile.gettempdir()) / f"proxyflow-{digest(named)[:16]}.lock")
    try:
        lock.acquire(timeout=ALONE_SECONDS)
    except Timeout:
        raise TrackingUnavailable(
            f"another process has been opening or making the tracking store {named} for {ALONE_SECONDS:g} s: try again "
            f"when it has ended (its lock is {lock.lock_file})"
        ) from None
    except OSError:
        pass  # another user's, or a folder that takes none
    try:
        yield
    finally:
        lock.release()


def _lasts(url: sqlalchemy.URL) -> bool:
    """Whether there is anything of it outside of this process."""
    return not url.drivername.startswith("sqlite") or url.database not in (None, "", ":memory:")


def _is_absent(url: sqlalchemy.URL) -> bool:
    """Whether it is a file that is not there yet."""
    return url.drivername.startswith("sqlite") and _lasts(url) and not Path(str(url.database)).exists()


def _make_whole(url: sqlalchemy.URL) -> None:
    """Makes an SQLite store that is not there yet; whatever stands in the way is for the next step to say."""
    if not _is_absent(url):
        return
    path = Path(str(url.database)).absolute()
    with suppress(OSError, SQLAlchemyError, MlflowException):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            store = SqlAlchemyStore(f"sqlite:///{beside}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
            store.engine.dispose()
            # Unlike a rename, a link never takes the place of what somebody else began in the meantime.
            os.link(beside, path)
        finally:
            beside.unlink(missing_ok=True)


def _reach(url: sqlalchemy.URL, named: str, reach_seconds: int) -> State:
    """What a store holds at this moment."""
    try:
        limits = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "sqlite": "timeout"}
        limit = limits.get(url.get_backend_name())
        # A file may be locked for longer by whoever makes its tables, and is none that is not reached.
        seconds = max(reach_seconds, LOCKED_SECONDS) if limit == "timeout" else reach_seconds
        engine = sqlalchemy.create_engine(url, connect_args={limit: seconds} if limit else {})
        try:
            with engine.connect() as connection:
                if url.drivername.startswith("postgresql"):
                    connection.execute(sqlalchemy.text(f"SET LOCAL statement_timeout = {reach_seconds * 1000}"))
                tables = frozenset(sqlalchemy.inspect(connection).get_table_names())
                noted = sqlalchemy.text("SELECT version_num FROM alembic_version")
                revisions = connection.scalars(noted).all() if "alembic_version" in tables else ()
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise TrackingUnavailable(
            f"the tracking store {named} needs the Python package {error.name}: install it"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        told = one_line(error).partition(" [SQL: ")[0].partition(" (Background on")[0]
        raise TrackingUnavailable(
            f"the tracking store {named} cannot be opened within {reach_seconds} s ({told}): "
            "start it, or set MLFLOW_TRACKING_URI to one that works"
        ) from None
    return State(tables, tuple(revisions))


def _later(state: State, look: Callable[[], State]) -> State:
    """What a store holds once that is something else, or after so long that nobody seems to be at it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        time.sleep(LOOK_SECONDS)
        if (now := look()) != state or time.monotonic() > deadline:
            return now
