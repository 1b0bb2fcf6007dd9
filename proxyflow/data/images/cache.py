"""Decoded data sets on disk: built once by the first process, memory-mapped by all others.

A data set's folder holds `pixels.bin` (all images, one behind the other), `index.npz` (where each begins, its size,
label and SHA-256), `meta.json`, and `verified.json`, which says for which state of `pixels.bin` all its hashes were
checked. Where images were reduced (see `reduce`) there is a folder for each side that they were reduced to; where none
had to be, one folder serves every training size.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from proxyflow.core.cores import usable_cores
from proxyflow.core.errors import UserError
from proxyflow.core.files import digest, sha256_of, write_json
from proxyflow.core.platform import allocate
from proxyflow.data.images.assemble import Allocate, Assembled, assemble, refuse_bad_files
from proxyflow.data.images.listing import Found, Listing
from proxyflow.data.images.origin import Origin
from proxyflow.data.images.store import ImageStore, OpenFile, digest_of, offsets_of

VERSION = 2
PIXELS, INDEX, META, VERIFIED = "pixels.bin", "index.npz", "meta.json", "verified.json"
COMPACT = f"compact-{PIXELS}"  # takes the place of `PIXELS`

Say = Callable[[str], None]


@contextmanager
def locked(folder: Path, name: str, say: Say) -> Iterator[OSError | None]:
    """Keeps other processes from finding and building the same data set meanwhile.

    Yields None, or the error that prevents writing; what another process has built may still be read.

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
        if not _stores_of(folder, name):
            raise _cannot_write(folder, error) from None
    try:
        yield problem
    finally:
        lock.release()


def slug(name: str) -> str:
    """A data set's name as a file name, with a digest where characters were lost."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-60:]
    return plain if plain == name else f"{plain}-{digest(name)[:12]}"


def _stores_of(cache: Path, name: str) -> list[Path]:
    """The folders that hold a data set's images, at whatever sides they were reduced to."""
    return [path for path in (cache / slug(name), *sorted(cache.glob(f"{slug(name)}-px*"))) if path.exists()]


def open_or_build(
    name: str, found: Found, cache: Path, skip_bad: bool, side: int, say: Say, problem: OSError | None = None
) -> Assembled:
    """The decoded data set from its folder in the cache, built there first where needed (hold `locked`).

    Args:
        side: images with a longer short side are reduced to it.
        problem: why nothing can be built, see `locked`.

    Raises:
        UserError: files cannot be used and `skip_bad` is false, or the cache cannot be written.
    """
    whole, reduced = cache / slug(name), cache / f"{slug(name)}-px{side}"
    for folder in (whole, reduced):
        if folder.exists():
            try:
                return _open(name, folder, found, skip_bad, side)
            except _OtherSide:
                pass
            except _Stale as reason:
                say(f"{name} is decoded again: {reason}")
    if problem is not None:  # without the lock two builders would corrupt each other's files
        raise _cannot_write(cache, problem)
    listing = found.listing()
    beside, old = cache / f".{slug(name)}.building", cache / f".{slug(name)}.old"
    for leftover in (beside, old):
        shutil.rmtree(leftover, ignore_errors=True)

    def room_for(n_bytes: int) -> NDArray[np.uint8]:
        _check_room(name, cache, n_bytes, say)
        return _allocate(beside / PIXELS, n_bytes)

    try:
        beside.mkdir()
        stored = _build(name, listing, skip_bad, side, found.signature, beside, room_for)
        folder = whole if stored is None else reduced
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
    except OSError as error:
        raise _cannot_write(cache, error) from None
    finally:
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)
    for other in _stores_of(cache, name):
        if not _is_of(other, found):
            shutil.rmtree(other, ignore_errors=True)
    try:
        return _open(name, folder, found, skip_bad, side)
    except _Stale as reason:
        raise UserError(f"the decoded images of {name} were corrupted while they were written: {reason}") from None


def _check_room(name: str, cache: Path, n_bytes: int, say: Say) -> None:
    """Reports how much space the decoded images will take, before any is decoded.

    Raises:
        UserError: that much is not free.
    """
    free = shutil.disk_usage(cache).free
    say(f"the decoded images of {name} take {format_bytes(n_bytes)} in {cache}")
    if n_bytes > free:
        raise UserError(
            f"the decoded images of {name} take {format_bytes(n_bytes)}, and {format_bytes(free)} are free in {cache}; "
            "make room, or name another folder in PROXYFLOW_CACHE_DIR"
        )


def format_bytes(n_bytes: int) -> str:
    """A number of bytes for people: 413 MB."""
    if n_bytes >= 10 * 1000**3:
        return f"{n_bytes / 1000**3:,.0f} GB"
    if n_bytes >= 1000**2:
        return f"{n_bytes / 1000**2:,.0f} MB"
    return f"{max(1, round(n_bytes / 1000)):,} kB"


def _build(
    name: str, listing: Listing, skip_bad: bool, side: int, signature: str, folder: Path, allocate: Allocate
) -> int | None:
    """Writes a data set's folder and closes its files, as Windows moves no open ones.

    Returns:
        The short side that images were reduced to, None where none was.
    """
    stored = _write(assemble(name, listing, skip_bad, side, allocate), signature, folder)
    if (folder / COMPACT).exists():
        (folder / COMPACT).replace(folder / PIXELS)
    return stored


def _cannot_write(cache: Path, error: OSError) -> UserError:
    return UserError(
        f"the cache of decoded images {cache} cannot be written ({error}); make room, or name another folder in "
        "PROXYFLOW_CACHE_DIR"
    )


def _allocate(path: Path, n_bytes: int) -> NDArray[np.uint8]:
    with path.open("wb") as file:
        # A full disk is an error here; with a sparse file it would kill the process that writes to the memory map.
        allocate(file, max(n_bytes, 1))
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=(max(n_bytes, 1),))


def _write(assembled: Assembled, signature: str, folder: Path) -> int | None:
    store = assembled.store
    lengths = store.sizes.astype(np.int64).prod(axis=1) * store.channels
    pixels = folder / PIXELS
    if int(lengths.sum()) < len(store.pixels):
        pixels = folder / COMPACT
        store = _compact(store, pixels)
    else:
        assert isinstance(store.pixels, np.memmap)
        store.pixels.flush()
    files = np.frombuffer("\0".join(store.files).encode("utf-8", "surrogateescape"), dtype=np.uint8)
    origin: dict[str, Any] = {} if store.origin is None else store.origin.arrays()
    np.savez(
        folder / INDEX,
        offsets=store.offsets,
        sizes=store.sizes,
        native_sizes=store.native_sizes,
        digests=store.digests,
        checks=assembled.checks,
        labels=assembled.labels,
        files=files,
        **origin,
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
        "notes": list(assembled.notes),
        "side": assembled.stored_side,
        "longest_short_side": store.longest_short_side,
        "depth": store.depth,
        "root": str(store.root) if store.root is not None else None,
        "pixel_bytes": pixels.stat().st_size,
        "index_sha256": sha256_of(folder / INDEX),
    }
    write_json(folder / META, {**meta, "sha256": digest(meta)})
    return assembled.stored_side


def _compact(store: ImageStore, path: Path) -> ImageStore:
    """Writes what the index names; damaged files are left out."""
    with path.open("wb") as file:
        for row in range(len(store)):
            file.write(store.image(row).tobytes())
        file.flush()
        os.fsync(file.fileno())
    return dataclasses.replace(store, offsets=offsets_of(store.sizes, store.channels))


class _Stale(Exception):
    """Why a folder of the cache cannot be used."""


class _OtherSide(Exception):
    """A folder's images are valid, but reduced to another side than the requested one."""


def _meta_of(text: str, found: Found) -> dict[str, Any]:
    """The contents of `meta.json`.

    Raises:
        _Stale: it is of another version, or of other files.
        ValueError, KeyError, TypeError, AttributeError: it is incomplete.
    """
    meta: dict[str, Any] = json.loads(text)
    stated = meta.pop("sha256")
    if digest(meta) != stated or meta["version"] != VERSION:
        raise _Stale(f"{META} was altered, or is of another version")
    if meta["signature"] != found.signature:
        raise _Stale("its files have changed")
    return meta


def _is_of(folder: Path, found: Found) -> bool:
    """Whether a folder holds the images of these files, however reduced."""
    try:
        _meta_of((folder / META).read_text(encoding="utf-8"), found)
    except (_Stale, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _open(name: str, folder: Path, found: Found, skip_bad: bool, side: int) -> Assembled:
    try:
        text = (folder / META).read_text(encoding="utf-8")
        meta = _meta_of(text, found)
        if (meta["longest_short_side"] > side) if meta["side"] is None else (meta["side"] != side):
            raise _OtherSide
        if (folder / PIXELS).stat().st_size != meta["pixel_bytes"]:
            raise _Stale(f"{PIXELS} is truncated")
        if sha256_of(folder / INDEX) != meta["index_sha256"]:
            raise _Stale(f"{INDEX} was altered")
        with np.load(folder / INDEX, allow_pickle=False) as index:
            arrays = {key: index[key] for key in index.files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Stale(f"it is incomplete ({type(error).__name__}: {error})") from None
    if meta["skipped"] and not skip_bad:
        raise refuse_bad_files(name, meta["skipped"])
    files = arrays["files"].tobytes().decode("utf-8", "surrogateescape")
    store = ImageStore(
        # Copy on write, because torch requires writable memory; nothing writes to it.
        np.memmap(folder / PIXELS, dtype=np.uint8, mode="c"),
        arrays["offsets"],
        arrays["sizes"],
        int(meta["channels"]),
        arrays["digests"],
        arrays["native_sizes"],
        tuple(files.split("\0")) if files else (),
        Path(meta["root"]) if meta["root"] is not None else None,
        OpenFile(folder / PIXELS),
        int(meta["depth"]),
        Origin.from_arrays(arrays),
    )
    if (folder / META).read_text(encoding="utf-8") != text:
        raise _Stale("another process rebuilt it meanwhile")
    if not _is_verified(folder):
        altered = _altered(store, arrays["checks"])
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
        arrays["checks"],
        tuple(meta["notes"]),
        meta["side"],
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


def _altered(store: ImageStore, checks: NDArray[np.uint8]) -> int:
    """How many images, as they are stored, do not have their hash."""

    def wrong(rows: range) -> int:
        return sum(digest_of(store.image(row)) != checks[row].tobytes() for row in rows)

    parts = [range(begin, min(begin + 256, len(store))) for begin in range(0, len(store), 256)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return sum(pool.map(wrong, parts))
