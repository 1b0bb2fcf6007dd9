"""Atomic file writes, checksums, and digests of values."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; after the block, renames it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keeps the suffix, because image and table writers choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` atomically as indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """`sha256_of`, computed once per process for a file of the same size and time of change."""
    state = path.stat()
    return _sha256_at(path.resolve(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_at(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)


def digest(value: Any) -> str:
    """SHA-256 in hexadecimal of a value's canonical JSON: equal values give equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
