"""Decoded data sets on disk: built once by whoever comes first, mapped into memory by everybody else.

A data set's folder holds `pixels.bin` (all images, one behind the other), `index.npz` (where each begins, its size,
label and SHA-256), `meta.json`, and `verified.json`, which says for which state of `pixels.bin` all its hashes were
checked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from proxyflow.cores import usable_cores
from proxyflow.data.assemble import Assembled, assemble, refuse_bad_files
from proxyflow.data.images import ImageStore, OpenFile, digest_of, offsets_of
from proxyflow.data.sources.base import Found
from proxyflow.errors import UserError
from proxyflow.files import digest, sha256_of, write_json

VERSION = 1
PIXELS, INDEX, META, VERIFIED = "pixels.bin", "index.npz", "meta.json", "verified.json"

Say = Callable[[str], None]


@contextmanager
def locked(folder: Path, name: str, say: Say) -> Iterator[OSError | None]:
    """Keeps other processes from finding and building the same data set meanwhile.

    Gives None, or what stands in the way of writing; what somebody else has built may still be read.

    Raises:
        UserError: the folder cannot be written, and the data set is not in it.
    """
    lock, problem = FileLock(folder / f"{slug(name)}.lock"), None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is preparing {name}; waiting for it")
            lock.acquire()
    except OSError as error:
        problem = error
        if not (folder / slug(name)).exists():
            raise _cannot_write(folder, error) from None
    try:
        yield problem
    finally:
        lock.release()


def slug(name: str) -> str:
    """A data set's name as a file name, with a digest where characters were lost."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-60:]
    return plain if plain == name else f"{plain}-{digest(name)[:12]}"


def open_or_build(
    name: str, found: Found, cache: Path, skip_bad: bool, say: Say, problem: OSError | None = None
) -> Assembled:
    """The decoded data set from its folder in the cache, built there first where needed (hold `locked`).

    Args:
        problem: why nothing can be built, see `locked`.

    Raises:
        UserError: files cannot be used and `skip_bad` is false, or the cache cannot be written.
    """
    folder = cache / slug(name)
    if folder.exists():
        try:
            return _open(name, folder, found, skip_bad)
        except _Stale as reason:
            say(f"the decoded images of {name} are made again: {reason}")
    if problem is not None:  # without the lock two builders would spoil each other's work
        raise _cannot_write(cache, problem)
    listing = found.listing()
    beside = cache / f".{folder.name}.building"
    old = cache / f".{folder.name}.old"
    for leftover in (beside, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        beside.mkdir()
        assembled = assemble(name, listing, skip_bad, partial(_allocate, beside / PIXELS))
        _write(assembled, found.signature, beside)
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
    except OSError as error:
        raise _cannot_write(cache, error) from None
    finally:
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)
    try:
        return _open(name, folder, found, skip_bad)
    except _Stale as reason:
        raise UserError(f"the decoded images of {name} were spoilt while they were written: {reason}") from None


def _cannot_write(cache: Path, error: OSError) -> UserError:
    return UserError(
        f"the cache of decoded images {cache} cannot be written ({error}); make room, or name another folder in "
        "PROXYFLOW_CACHE_DIR"
    )


def _allocate(path: Path, n_bytes: int) -> NDArray[np.uint8]:
    with path.open("wb") as file:
        # A full disk is an error here; in a sparse file it would kill the process that writes to its map.
        os.posix_fallocate(file.fileno(), 0, max(n_bytes, 1))
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=(max(n_bytes, 1),))


def _write(assembled: Assembled, signature: str, folder: Path) -> None:
    store = assembled.store
    lengths = store.sizes.astype(np.int64).prod(axis=1) * store.channels
    if int(lengths.sum()) < len(store.pixels):
        store = _compact(store, folder)
    else:
        assert isinstance(store.pixels, np.memmap)
        store.pixels.flush()
    files = np.frombuffer("\0".join(store.files).encode("utf-8", "surrogateescape"), dtype=np.uint8)
    np.savez(
        folder / INDEX,
        offsets=store.offsets,
        sizes=store.sizes,
        original_sizes=store.original_sizes,
        digests=store.digests,
        labels=assembled.labels,
        files=files,
    )
    meta: dict[str, Any] = {
        "version": VERSION,
        "signature": signature,
        "class_names": list(assembled.class_names),
        "channels": store.channels,
        "n_train": assembled.n_train,
        "mean": list(assembled.mean),
        "std": list(assembled.std),
        "skipped": list(assembled.skipped),
        "root": str(store.root) if store.root is not None else None,
        "pixel_bytes": (folder / PIXELS).stat().st_size,
        "index_sha256": sha256_of(folder / INDEX),
    }
    write_json(folder / META, {**meta, "sha256": digest(meta)})


def _compact(store: ImageStore, folder: Path) -> ImageStore:
    """Leaves out what no index names (validation images beyond those that are used, damaged files)."""
    compact = folder / f"compact-{PIXELS}"
    with compact.open("wb") as file:
        for row in range(len(store)):
            file.write(store.image(row).tobytes())
        file.flush()
        os.fsync(file.fileno())
    compact.replace(folder / PIXELS)
    offsets = offsets_of(store.sizes, store.channels)
    return ImageStore(
        store.pixels,
        offsets,
        store.sizes,
        store.channels,
        store.digests,
        store.original_sizes,
        store.files,
        store.root,
    )


class _Stale(Exception):
    """Why a folder of the cache cannot be used."""


def _open(name: str, folder: Path, found: Found, skip_bad: bool) -> Assembled:
    try:
        text = (folder / META).read_text(encoding="utf-8")
        meta = json.loads(text)
        stated = meta.pop("sha256")
        if digest(meta) != stated or meta["version"] != VERSION:
            raise _Stale(f"{META} was altered, or is of another version")
        if meta["signature"] != found.signature:
            raise _Stale("its files have changed")
        if (folder / PIXELS).stat().st_size != meta["pixel_bytes"]:
            raise _Stale(f"{PIXELS} is truncated")
        if sha256_of(folder / INDEX) != meta["index_sha256"]:
            raise _Stale(f"{INDEX} was altered")
        with np.load(folder / INDEX, allow_pickle=False) as index:
            arrays = {key: index[key] for key in index.files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Stale(f"it is not whole ({type(error).__name__}: {error})") from None
    if meta["skipped"] and not skip_bad:
        raise refuse_bad_files(name, meta["skipped"])
    files = arrays["files"].tobytes().decode("utf-8", "surrogateescape")
    store = ImageStore(
        # Copy on write, because torch wants memory that could be written; nobody does.
        np.memmap(folder / PIXELS, dtype=np.uint8, mode="c"),
        arrays["offsets"],
        arrays["sizes"],
        int(meta["channels"]),
        arrays["digests"],
        arrays["original_sizes"],
        tuple(files.split("\0")) if files else (),
        Path(meta["root"]) if meta["root"] is not None else None,
        OpenFile(folder / PIXELS),
    )
    if (folder / META).read_text(encoding="utf-8") != text:
        raise _Stale("somebody else made it again meanwhile")
    if not _is_verified(folder):
        altered = _altered(store)
        if altered:
            raise _Stale(f"{altered:,} of {len(store):,} images in {PIXELS} were altered")
        _note_verified(folder)
    return Assembled(
        store,
        arrays["labels"],
        int(meta["n_train"]),
        tuple(meta["class_names"]),
        tuple(meta["mean"]),
        tuple(meta["std"]),
        tuple(meta["skipped"]),
    )


def _state(path: Path) -> dict[str, int]:
    """What changes whenever a file is written to, copied or restored."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns, "inode": stat.st_ino}


def _is_verified(folder: Path) -> bool:
    """Whether `pixels.bin` is as it was when its hashes were last checked; reading it all takes too long each time."""
    try:
        return bool(json.loads((folder / VERIFIED).read_text(encoding="utf-8")) == _state(folder / PIXELS))
    except (OSError, ValueError):
        return False


def _note_verified(folder: Path) -> None:
    with suppress(OSError):  # in a folder that cannot be written it is checked each time
        write_json(folder / VERIFIED, _state(folder / PIXELS))


def _altered(store: ImageStore) -> int:
    """How many images do not have their hash."""

    def wrong(rows: range) -> int:
        return sum(digest_of(store.image(row)) != store.digests[row].tobytes() for row in rows)

    parts = [range(begin, min(begin + 256, len(store))) for begin in range(0, len(store), 256)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return sum(pool.map(wrong, parts))
