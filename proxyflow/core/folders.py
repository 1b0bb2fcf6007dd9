"""Locations of data sets and caches on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from proxyflow.core.errors import InvalidValue

DATA_VARIABLE, CACHE_VARIABLE = "PROXYFLOW_DATA_DIR", "PROXYFLOW_CACHE_DIR"


def data_folder(data_dir: Path | None = None) -> Path:
    """The data directory: the one given, else the variable PROXYFLOW_DATA_DIR, else `~/.cache/proxyflow`."""
    return absolute("data_dir", str(data_dir or os.environ.get(DATA_VARIABLE) or "~/.cache/proxyflow"))


def cache_folder(data_dir: Path | None = None) -> Path:
    """The folder of decoded images: the variable PROXYFLOW_CACHE_DIR, else below the data directory."""
    named = os.environ.get(CACHE_VARIABLE)
    return absolute(CACHE_VARIABLE, named) if named else data_folder(data_dir) / "decoded"


def absolute(name: str, path: str) -> Path:
    """The absolute form of a user's path, with `~` expanded.

    Raises:
        InvalidValue: `~` names a user that does not exist.
    """
    try:
        return Path(os.path.normpath(Path(path).expanduser().absolute()))
    except RuntimeError as error:
        raise InvalidValue(name, path, f"{error}; give the full path") from None
