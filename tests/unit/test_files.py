"""A reader must find a file whole or not at all, and equal values must have equal digests everywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.core.files import atomic_write, digest, sha256_of, write_json, write_text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


class Interrupted(Exception):
    pass


def write_half(path: Path) -> None:
    with atomic_write(path) as beside:
        beside.write_text("half a")
        raise Interrupted


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        write_half(tmp_path / "table.csv")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(Interrupted):
        write_half(path)
    assert [found.name for found in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "before"


def test_nothing_is_at_the_place_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    with atomic_write(path) as beside:
        beside.write_text("whole")
        assert not path.exists()
        # A rename is one step only within a folder, and writers choose the format by the suffix.
        assert (beside.parent, beside.suffix) == (path.parent, path.suffix)
    assert path.read_text() == "whole"
    assert [found.name for found in path.parent.iterdir()] == ["table.csv"]


def test_text_and_json_are_utf_8_and_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_text(path, "older and longer than what follows, so that a rest of it would show")
    write_json(path, {"b": "é", "a": [1, None]})
    assert path.read_bytes() == '{\n  "a": [\n    1,\n    null\n  ],\n  "b": "é"\n}\n'.encode()


def test_the_checksum_is_sha_256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def reordered(value: Any) -> Any:
    """The same value with the keys of all mappings in the opposite order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(json_values)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    assert digest(reordered(value)) == digest(value)
    assert len(digest(value)) == 64


@given(json_values, json_values)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == equal


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert digest({"b": 1, "a": (2.5, None)}) == hashlib.sha256(b'{"a":[2.5,null],"b":1}').hexdigest()


def test_a_value_that_equals_nothing_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest({"learning_rate": float("nan")})
