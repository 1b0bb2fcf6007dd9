"""Tracking stores in no time: MLflow takes seconds to make each, and tests need dozens."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path


@cache
def _original() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """A store as MLflow makes it, once per process, and the folder that goes with the process."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tempfile.TemporaryDirectory(prefix="proxyflow-store-")
    path = Path(folder.name, "mlflow.db")
    SqlAlchemyStore(f"sqlite:///{path}", folder.name).engine.dispose()
    return path, folder


def place_database(path: Path, artifacts: str) -> None:
    """Puts a new store at `path`.

    Args:
        artifacts: where those of the experiment Default go.
    """
    shutil.copyfile(_original()[0], path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", (artifacts,))
