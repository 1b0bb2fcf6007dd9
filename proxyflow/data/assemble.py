"""A listing decoded: pixels in one buffer, wrong files reported together, the validation set chosen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from proxyflow.cores import usable_cores
from proxyflow.data.decode import BadImage, Header
from proxyflow.data.images import DIGEST_BYTES, ImageStore, digest_of, hexadecimal, offsets_of
from proxyflow.data.sources.base import Listing, as_text
from proxyflow.data.splits import VALIDATION_EXAMPLES, balanced_split, split_off
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
        headers = _each(listing.header, range(len(listing)), bad)
        decoded = _decode(name, listing, headers, bad, allocate, show)
        if bad and not skip_bad:
            raise refuse_bad_files(name, _described(listing, bad))
        if decoded.store.channels == 3 and all(headers[position].grey for position in decoded.positions):
            # All that had colours was left out.
            decoded = _decode(name, listing, headers, bad, allocate, show)
    labels = listing.labels[decoded.positions]
    try:
        train, valid = _partition(name, listing, decoded, labels)
    except UserError as error:
        described = _described(listing, bad)
        more = f" ({len(bad):,} files were left out: {'; '.join(described[:3])})" if bad else ""
        raise UserError(f"{error}{more}") from None
    order = np.concatenate([train, valid])
    store = decoded.store.take(order)
    n_pixels = int(store.sizes[: len(train)].astype(np.int64).prod(axis=1).sum())
    mean, std = _statistics(decoded.sums[train].sum(axis=0), n_pixels)
    return Assembled(store, labels[order], len(train), listing.class_names, mean, std, _described(listing, bad))


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Decoded images in the order of the listing.

    Attributes:
        positions: `(n,) int64`, which of the listing's images could be decoded.
        sums: `(n, 2, channels) int64`, of the pixels and of their squares.
    """

    store: ImageStore
    positions: NDArray[np.int64]
    sums: NDArray[np.int64]


def _decode(
    name: str, listing: Listing, headers: dict[int, Header], bad: dict[int, str], allocate: Allocate, show: bool
) -> _Decoded:
    """Decodes all images that are not known as bad, and notes those that turn out to be."""
    good = [position for position in sorted(headers) if position not in bad]
    sizes = np.array([headers[position].size for position in good], dtype=np.int32).reshape(-1, 2)
    channels = 1 if all(headers[position].grey for position in good) else 3
    offsets = offsets_of(sizes, channels)
    pixels = allocate(int(sizes.astype(np.int64).prod(axis=1).sum()) * channels)

    def decode(place: int) -> tuple[bytes, NDArray[np.int64]]:
        image = listing.decode(good[place], channels)
        if image.shape[:2] != tuple(sizes[place]):
            raise BadImage("its size is not the one that its header states")
        begin = offsets[place]
        pixels[begin : begin + image.size] = image.reshape(-1)
        return digest_of(image), sums_of(image)

    unusable: dict[int, str] = {}
    with Progress(f"decoding {name}", len(good), "images") if show else nullcontext() as progress:
        results = _each(decode, range(len(good)), unusable, progress)
    bad.update((good[place], reason) for place, reason in unusable.items())
    places = np.array(sorted(results), dtype=np.int64)
    positions = np.array(good, dtype=np.int64)[places]
    digests = b"".join(results[place][0] for place in places)
    store = ImageStore(
        pixels,
        offsets[places],
        sizes[places],
        channels,
        np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES),
        np.array([headers[position].original_size for position in positions], dtype=np.int32).reshape(-1, 2),
        tuple(listing.files[position] for position in positions) if listing.files else (),
        listing.root,
    )
    return _Decoded(
        store, positions, np.array([results[place][1] for place in places], dtype=np.int64).reshape(-1, 2, channels)
    )


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
    """Which of the decoded examples are for training, in training order, and which for validation."""
    hashes = hexadecimal(decoded.store.digests)
    wanted = max(VALIDATION_EXAMPLES, len(listing.class_names))
    if listing.is_valid is None:
        is_valid = split_off(labels, hashes, wanted)
        is_train = ~is_valid
    else:
        candidates = listing.is_valid[decoded.positions]
        is_train, is_valid = ~candidates, np.zeros_like(candidates)
        is_valid[candidates] = balanced_split(labels[candidates], hashes[candidates], wanted)
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
    from PIL import Image

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
