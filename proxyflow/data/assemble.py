"""A listing decoded: pixels in one buffer, wrong files reported together, the validation set chosen."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.decode import BadImage
from proxyflow.data.images import DIGEST_BYTES, ImageStore, digest_of, offsets_of
from proxyflow.data.sources.base import Listing
from proxyflow.data.splits import LARGEST_SHARE, VALIDATION_EXAMPLES, balanced_split
from proxyflow.errors import UserError
from proxyflow.progress import Progress

T = TypeVar("T")
CHUNK = 64
NAMED_FILES = 20

Allocate = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Assembled:
    """A data set's decoded images.

    Attributes:
        store: the training images in training order, then the validation images; other images of the source
            may lie between them in the buffer, but are in no index.
        labels: `(n,) int64`.
        n_train: how many of them are for training.
        class_names: one per label.
        mean, std: per channel, of the training pixels in 0..1.
        skipped: files that were left out, each with the reason.
    """

    store: ImageStore
    labels: NDArray[np.int64]
    n_train: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...]


def refuse_bad_files(name: str, bad: Sequence[str]) -> UserError:
    """The error that names wrong files; all that there are, or the first of very many."""
    named = "; ".join(bad[:NAMED_FILES])
    more = f"; and {len(bad) - NAMED_FILES:,} more" if len(bad) > NAMED_FILES else ""
    files = "1 file" if len(bad) == 1 else f"{len(bad):,} files"
    return UserError(
        f"dataset={name} has {files} that cannot be used: {named}{more}; replace or delete them, or leave them "
        "out with skip_bad=true"
    )


def assemble(name: str, listing: Listing, skip_bad: bool, allocate: Allocate, show: bool = True) -> Assembled:
    """Decodes every image of a listing, on all cores.

    Args:
        name: the data set's, for messages.
        skip_bad: leave out files that hold no usable image, instead of refusing the data set.
        allocate: gives a writable buffer of so many bytes.
        show: show progress.

    Raises:
        UserError: files cannot be used and `skip_bad` is false, or too little is left without them.
    """
    bad: dict[int, str] = {}
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; what matters is whether there are pixels.
        warnings.simplefilter("ignore")
        headers = _each(lambda position: listing.header(position), range(len(listing)), bad)
        good = [position for position in range(len(listing)) if position not in bad]
        sizes = np.array([headers[position].size for position in good], dtype=np.int32).reshape(-1, 2)
        channels = 1 if all(headers[position].grey for position in good) else 3
        offsets = offsets_of(sizes, channels)
        pixels = allocate(int(sizes.astype(np.int64).prod(axis=1).sum()) * channels)
        places = dict(zip(good, range(len(good)), strict=True))

        def decode(position: int) -> tuple[bytes, NDArray[np.int64]]:
            image = listing.decode(position, channels)
            place = places[position]
            if image.shape[:2] != tuple(sizes[place]):
                raise BadImage("it changed while it was read")
            begin = offsets[place]
            pixels[begin : begin + image.size] = image.reshape(-1)
            values = image.reshape(-1, channels).astype(np.float64)  # sums of whole numbers stay exact
            sums = np.array([values.sum(axis=0), (values * values).sum(axis=0)]).astype(np.int64)
            return digest_of(image), sums

        with Progress(f"decoding {name}", len(good), "images") if show else nullcontext() as progress:
            decoded = _each(decode, good, bad, progress)
    described = tuple(_describe(listing, position, bad[position]) for position in sorted(bad))
    if bad and not skip_bad:
        raise refuse_bad_files(name, described)
    kept = np.array([position for position in good if position in decoded], dtype=np.int64)
    digests = np.frombuffer(b"".join(decoded[p][0] for p in kept), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    train, valid = _partition(name, listing, kept, digests)
    order = np.concatenate([train, valid])
    rows = np.array([places[position] for position in kept[order]], dtype=np.int64)
    store = ImageStore(
        pixels,
        offsets[rows],
        sizes[rows],
        channels,
        digests[order],
        np.array([headers[position].original_size for position in kept[order]], dtype=np.int32).reshape(-1, 2),
        tuple(listing.files[position] for position in kept[order]) if listing.files else (),
        listing.root,
    )
    sums = np.array([decoded[position][1] for position in kept[train]]).sum(axis=0)
    mean, std = _statistics(sums, int(store.sizes[: len(train)].astype(np.int64).prod(axis=1).sum()))
    return Assembled(store, listing.labels[kept[order]], len(train), listing.class_names, mean, std, described)


def _each(
    work: Callable[[int], T], positions: Sequence[int], bad: dict[int, str], progress: Progress | None = None
) -> dict[int, T]:
    """Applies `work` to positions in threads (decoding and hashing let go of the interpreter); notes bad images."""
    results: dict[int, T] = {}

    def chunk(part: Sequence[int]) -> list[tuple[int, T | None, str]]:
        done: list[tuple[int, T | None, str]] = []
        for position in part:
            try:
                done.append((position, work(position), ""))
            except BadImage as error:
                done.append((position, None, str(error)))
        return done

    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for ended in pool.map(chunk, [positions[i : i + CHUNK] for i in range(0, len(positions), CHUNK)]):
            for position, result, reason in ended:
                if result is None:
                    bad[position] = reason
                else:
                    results[position] = result
                if progress is not None:
                    progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _describe(listing: Listing, position: int, reason: str) -> str:
    where = str(listing.root / listing.files[position]) if listing.root and listing.files else f"image {position}"
    # File systems take any bytes in names, messages and tags take text.
    return f"{where}: {reason}".encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _partition(
    name: str, listing: Listing, kept: NDArray[np.int64], digests: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the kept examples are for training, in training order, and which for validation."""
    labels = listing.labels[kept]
    hashes = np.array([row.tobytes().hex() for row in digests], dtype=f"U{2 * DIGEST_BYTES}")
    if listing.is_valid is None:
        is_valid = balanced_split(labels, hashes, VALIDATION_EXAMPLES, LARGEST_SHARE)
        is_train = ~is_valid
    else:
        candidates = listing.is_valid[kept]
        is_train, is_valid = ~candidates, np.zeros_like(candidates)
        is_valid[candidates] = balanced_split(labels[candidates], hashes[candidates], VALIDATION_EXAMPLES)
    for part, chosen in (("training", is_train), ("validation", is_valid)):
        counts = np.bincount(labels[chosen], minlength=len(listing.class_names))
        empty = [listing.class_names[label] for label in np.flatnonzero(counts == 0)]
        if empty:
            raise UserError(
                f"dataset={name} has no {part} image of {', '.join(empty)}; every class needs at least "
                "one for training and one for validation"
            )

    def ordered(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        members = np.flatnonzero(chosen)
        return members[np.lexsort((hashes[members], labels[members]))] if listing.by_content else members

    return ordered(is_train), ordered(is_valid)


def _statistics(sums: NDArray[np.int64], n_pixels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel in 0..1, from sums over pixels and over their squares."""
    total, squares = (row.astype(object) for row in sums)  # Python's integers do not overflow
    mean = tuple(float(value) / n_pixels / 255 for value in total)
    variance = [(int(q) * n_pixels - int(t) * int(t)) / n_pixels**2 for t, q in zip(total, squares, strict=True)]
    # A channel of one colour has nothing to normalise; 1/255 keeps the division defined.
    return mean, tuple(max(value**0.5, 1.0) / 255 for value in variance)
