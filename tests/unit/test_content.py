"""Digests as bytes decide the same as hashes as text: orders, copies and fingerprints of all data sets stay."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.data.content import DIGEST_BYTES, fingerprint_of, found_in, hexadecimal, ranks_of

# Few different bytes at both ends, so that digests share beginnings, and are the same.
DIGESTS = st.lists(
    st.tuples(st.sampled_from([0, 1, 255]), st.sampled_from([0, 9, 128])).map(
        lambda ends: bytes([ends[0]]) + b"\x07" * (DIGEST_BYTES - 2) + bytes([ends[1]])
    ),
    max_size=30,
)


def as_array(digests: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)


@given(DIGESTS)
def test_ranks_are_those_of_the_text(digests: list[bytes]) -> None:
    array = as_array(digests)
    assert hexadecimal(array).tolist() == [digest.hex() for digest in digests]
    expected = np.unique(hexadecimal(array), return_inverse=True)[1] if digests else []
    assert ranks_of(array).tolist() == list(expected)


@given(DIGESTS, DIGESTS)
def test_what_is_found_is_what_the_text_finds(digests: list[bytes], others: list[bytes]) -> None:
    assert found_in(as_array(digests), as_array(others)).tolist() == [digest in others for digest in digests]


@given(DIGESTS, st.integers(0, 10**6))
def test_the_fingerprint_is_that_of_the_sorted_lines(digests: list[bytes], seed: int) -> None:
    labels = np.random.default_rng(seed).choice([0, 2, 10, 101], len(digests)).astype(np.int64)
    lines = sorted(f"{digest.hex()} {label}" for digest, label in zip(digests, labels, strict=True))
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert fingerprint_of(as_array(digests), labels) == expected


def test_the_fingerprint_is_that_of_the_sorted_lines_of_many() -> None:
    rng = np.random.default_rng(0)
    array, labels = rng.integers(0, 256, (150_000, DIGEST_BYTES), dtype=np.uint8), rng.integers(0, 12, 150_000)
    lines = sorted(f"{digest} {label}" for digest, label in zip(hexadecimal(array), labels, strict=True))
    assert fingerprint_of(array, labels) == hashlib.sha256("\n".join(lines).encode()).hexdigest()
