"""Identity of examples by binary digests of their content: a million hashes as text take a quarter gigabyte."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 32
ROWS_TOGETHER = 65_536

Digests = NDArray[np.uint8]


def hexadecimal(digests: Digests) -> NDArray[np.str_]:
    """`(n,)` digests, `(n, 32) uint8`, as text.

    Example:
        >>> hexadecimal(np.full((1, 32), 171, dtype=np.uint8)).tolist()[0][:6]
        'ababab'
    """
    text = digests.tobytes().hex().encode()
    return np.frombuffer(text, dtype=f"S{2 * DIGEST_BYTES}").astype(f"U{2 * DIGEST_BYTES}")


def ranks_of(digests: Digests) -> NDArray[np.int64]:
    """`(n,) int64`: equal where digests are equal, and in the order of their hexadecimal text."""
    words = _words(digests)
    order = _sorted(words, np.zeros(len(words), dtype=np.int64))
    new = np.zeros(len(order), dtype=np.int64)
    new[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.cumsum(new)
    return ranks


def found_in(digests: Digests, others: Digests) -> NDArray[np.bool_]:
    """`(n,)`, which digests are among `others`."""
    ours, theirs = _words(digests)[:, 0], _words(others)[:, 0]
    found = np.isin(ours, theirs)
    if found.any():  # the first eight bytes agree; look at all of them
        likely = {row.tobytes() for row in others[np.isin(theirs, ours[found])]}
        found[found] = [row.tobytes() in likely for row in digests[found]]
    return found


def fingerprint_of(digests: Digests, labels: NDArray[np.int64]) -> str:
    """SHA-256 over the lines `HASH LABEL` in the order of their text, without a line break at the end."""
    # As text: label 10 comes before label 2.
    names, numbers = np.unique(labels, return_inverse=True)
    place = np.empty(len(names), dtype=np.int64)
    place[np.argsort(names.astype(str), kind="stable")] = np.arange(len(names))
    order = _sorted(_words(digests), place[numbers])
    found, width = hashlib.sha256(), 2 * DIGEST_BYTES
    for begin in range(0, len(order), ROWS_TOGETHER):
        rows = order[begin : begin + ROWS_TOGETHER]
        text = digests[rows].tobytes().hex()
        lines = [f"{text[width * at : width * (at + 1)]} {label}" for at, label in enumerate(labels[rows].tolist())]
        found.update((("\n" if begin else "") + "\n".join(lines)).encode())
    return found.hexdigest()


def _sorted(words: NDArray[np.uint64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(n,)` positions in the order of the digests, and of `last` where these are equal."""
    order = np.argsort(words[:, 0], kind="stable")
    first = words[order, 0]
    same = np.zeros(len(order) + 1, dtype=bool)
    same[1:-1] = first[1:] == first[:-1]
    # Only copies share their first eight bytes, but for one pair in 10^19.
    tied = order[same[1:] | same[:-1]]
    order[same[1:] | same[:-1]] = tied[np.lexsort((last[tied], *words[tied].T[::-1]))]
    return order


def _words(digests: Digests) -> NDArray[np.uint64]:
    """`(n, 4)` numbers that sort as the bytes do."""
    return np.ascontiguousarray(digests).view(">u8").astype(np.uint64).reshape(-1, DIGEST_BYTES // 8)
