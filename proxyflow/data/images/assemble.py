"""Decodes a listing: pixels in one buffer, all bad files reported together, statistics of the training images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.cores import usable_cores
from proxyflow.core.errors import UserError
from proxyflow.core.progress import Progress
from proxyflow.data.content import DIGEST_BYTES, hexadecimal
from proxyflow.data.images.decode import BadImage, Header
from proxyflow.data.images.levels import FULL, depth_of
from proxyflow.data.images.listing import Listing, as_text
from proxyflow.data.images.reduce import reduce, reduced_sizes
from proxyflow.data.images.store import ImageStore, digest_of, offsets_of
from proxyflow.data.splits import split_off, split_off_examples

T = TypeVar("T")
CHUNK = 64
NAMED_FILES = 20

Allocate = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Assembled:
    """A data set's decoded images.

    Attributes:
        store: the training images in training order, then those that validation may use (see `evaluation`); files that
            could not be used may leave gaps in the buffer.
        labels: `(n,) int64`.
        n_train: how many of them are for training.
        class_names: one per label.
        mean, std: per channel, of the training pixels in 0..1.
        skipped: files that were left out, each with the reason.
        checks: `(n, 32) uint8`, `digest_of` each image as it is stored.
        notes: how its pixels were converted, for people.
        stored_side: short side that larger images were reduced to, see `reduce`; None where no image was.
    """

    store: ImageStore
    labels: NDArray[np.int64]
    n_train: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...]
    checks: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    stored_side: int | None = None


def refuse_bad_files(name: str, bad: Sequence[str]) -> UserError:
    """The error that names wrong files; all that there are, or the first of very many."""
    named = "; ".join(bad[:NAMED_FILES])
    more = f"; and {len(bad) - NAMED_FILES:,} more" if len(bad) > NAMED_FILES else ""
    files = "1 file" if len(bad) == 1 else f"{len(bad):,} files"
    return UserError(
        f"dataset={name} has {files} that cannot be used: {named}{more}; replace or delete them, or leave them "
        "out with skip_bad=true"
    )


def assemble(
    name: str, listing: Listing, skip_bad: bool, side: int, allocate: Allocate, show: bool = True
) -> Assembled:
    """Decodes every image of a listing, on all cores.

    Args:
        name: the data set's, for messages.
        skip_bad: leave out files that hold no usable image, instead of refusing the data set.
        side: images with a longer short side are stored reduced to it.
        allocate: gives a writable buffer of so many bytes.
        show: show progress.

    Raises:
        UserError: files cannot be used and `skip_bad` is false, or too little is left without them.
    """
    bad: dict[int, str] = {}
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; what matters is whether there are pixels.
        warnings.simplefilter("ignore")
        headers = _each(listing.header, range(len(listing)), bad)
        depth, notes = _depth(name, listing, headers, bad, show)
        decode = partial(_decode, name, listing, headers, bad, side, depth, allocate, show)
        decoded = decode()
        if bad and not skip_bad:
            raise refuse_bad_files(name, _described(listing, bad))
        if decoded.store.channels == 3 and all(headers[position].grey for position in decoded.positions):
            # All that had colours was left out.
            decoded = decode()
    labels = listing.labels[decoded.positions]
    try:
        train, valid = _partition(name, listing, decoded, labels)
    except UserError as error:
        described = _described(listing, bad)
        more = f" ({len(bad):,} files were left out: {'; '.join(described[:3])})" if bad else ""
        raise UserError(f"{error}{more}") from None
    order = np.concatenate([train, valid])
    store = decoded.store.take(order)
    n_pixels = int(store.native_sizes[: len(train)].astype(np.int64).prod(axis=1).sum())
    mean, std = _statistics(decoded.sums[train].sum(axis=0), n_pixels)
    return Assembled(
        store,
        labels[order],
        len(train),
        listing.class_names,
        mean,
        std,
        _described(listing, bad),
        decoded.checks[order],
        notes,
        side if store.reduced.any() else None,
    )


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Decoded images in the order of the listing.

    Attributes:
        positions: `(n,) int64`, which of the listing's images could be decoded.
        sums: `(n, 2, channels) int64`, of the pixels and of their squares at native size.
        checks: `(n, 32) uint8`, `digest_of` each image as it is stored.
    """

    store: ImageStore
    positions: NDArray[np.int64]
    sums: NDArray[np.int64]
    checks: NDArray[np.uint8]


def _depth(
    name: str, listing: Listing, headers: dict[int, Header], bad: dict[int, str], show: bool
) -> tuple[int, tuple[str, ...]]:
    """How many bits the 16-bit files use, with notes for people; records files that turn out to be bad."""
    deep = [position for position in sorted(headers) if headers[position].deep]
    if not deep:
        return FULL, ()
    with Progress(f"reading the levels of {name}", len(deep), "images") if show else nullcontext() as progress:
        highest = _each(listing.highest_level, deep, bad, progress)
    grey, coloured = (
        depth_of(max((highest[p] for p in highest if headers[p].grey is is_grey), default=2**FULL - 1))
        for is_grey in (True, False)
    )
    notes = []
    if grey < FULL:
        notes.append(f"the 16-bit images of {name} use {grey} bits: levels 0 to {2**grey - 1:,} are scaled to 0 to 255")
    if coloured < FULL:
        notes.append(
            f"warning: the colours of 16 bits in {name} use {coloured} bits, of which {max(0, coloured - 8)} are read; "
            "save them with 8 bits per channel"
        )
    return grey, tuple(notes)


def _decode(
    name: str,
    listing: Listing,
    headers: dict[int, Header],
    bad: dict[int, str],
    side: int,
    depth: int,
    allocate: Allocate,
    show: bool,
) -> _Decoded:
    """Decodes all images that are not known to be bad, and records those that turn out to be."""
    good = [position for position in sorted(headers) if position not in bad]
    native = np.array([headers[position].size for position in good], dtype=np.int32).reshape(-1, 2)
    sizes = reduced_sizes(native, side)
    channels = 1 if all(headers[position].grey for position in good) else 3
    offsets = offsets_of(sizes, channels)
    pixels = allocate(int(sizes.astype(np.int64).prod(axis=1).sum()) * channels)

    def decode(place: int) -> tuple[bytes, bytes, NDArray[np.int64]]:
        image = listing.decode(good[place], channels, depth)
        if image.shape[:2] != tuple(native[place]):
            raise BadImage("its size is not the one that its header states")
        content = digest_of(image)
        stored = reduce(image, (int(sizes[place, 0]), int(sizes[place, 1])))
        begin = offsets[place]
        pixels[begin : begin + stored.size] = stored.reshape(-1)
        return content, content if stored is image else digest_of(stored), sums_of(image)

    unusable: dict[int, str] = {}
    with Progress(f"decoding {name}", len(good), "images") if show else nullcontext() as progress:
        results = _each(decode, range(len(good)), unusable, progress)
    bad.update((good[place], reason) for place, reason in unusable.items())
    places = np.array(sorted(results), dtype=np.int64)
    positions = np.array(good, dtype=np.int64)[places]
    digests, checks = (
        np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        for found in ([results[place][0] for place in places], [results[place][1] for place in places])
    )
    store = ImageStore(
        pixels,
        offsets[places],
        sizes[places],
        channels,
        digests,
        native[places],
        tuple(listing.files[position] for position in positions) if listing.files else (),
        listing.root,
        depth=depth,
        origin=None if listing.origin is None else listing.origin.take(positions),
    )
    sums = np.array([results[place][2] for place in places], dtype=np.int64).reshape(-1, 2, channels)
    return _Decoded(store, positions, sums, checks)


def _each(
    work: Callable[[int], T], positions: Sequence[int], bad: dict[int, str], progress: Progress | None = None
) -> dict[int, T]:
    """Applies `work` to positions in threads (decoding and hashing release the GIL); records bad images."""
    results: dict[int, T] = {}

    def chunk(part: Sequence[int]) -> list[tuple[int, T | None, str]]:
        done: list[tuple[int, T | None, str]] = []
        for position in part:
            try:
                done.append((position, work(position), ""))
            except BadImage as error:
                done.append((position, None, str(error)))
        return done

    pool = ThreadPoolExecutor(usable_cores())
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


def _described(listing: Listing, bad: dict[int, str]) -> tuple[str, ...]:
    """Bad files by name, each with the reason."""
    lines = []
    for position in sorted(bad):
        where = str(listing.root / listing.files[position]) if listing.root and listing.files else f"image {position}"
        lines.append(as_text(f"{where}: {bad[position]}"))
    return tuple(lines)


def _partition(
    name: str, listing: Listing, decoded: _Decoded, labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the decoded examples are for training, in training order, and which may be for validation."""
    hashes = hexadecimal(decoded.store.digests)
    if listing.is_valid is None:
        is_valid = split_off(labels, hashes, max(split_off_examples(len(labels)), len(listing.class_names)))
    else:
        is_valid = listing.is_valid[decoded.positions]
    is_train = ~is_valid
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


def sums_of(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """`(2, channels)` sum of the pixels and of their squares; Pillow counts levels without copying large images."""
    from PIL import Image  # imports PIL

    counts = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).histogram()
    levels = np.arange(256)
    return np.stack([levels, levels**2]) @ np.array(counts, dtype=np.int64).reshape(-1, 256).T


def _statistics(sums: NDArray[np.int64], n_pixels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel in 0..1.

    In whole numbers up to the last division, so that the order of the images cannot show in them.
    """
    means = tuple(total / n_pixels / 255 for total in sums[0].tolist())
    variances = [(q * n_pixels - t * t) / n_pixels**2 for t, q in zip(*sums.tolist(), strict=True)]
    # A channel of one colour has nothing to normalise; a deviation of one level keeps the division defined.
    return means, tuple(max(variance**0.5, 1.0) / 255 for variance in variances)
