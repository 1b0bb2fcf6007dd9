"""The cache of downloads: once per machine, checked, bounded, and nothing that is in use is lost."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from proxyflow.core.errors import InvalidValue
from proxyflow.tracking.artifacts import cache as artifact_cache
from proxyflow.tracking.artifacts.cache import SIZE_VARIABLE, ArtifactCache


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Store:
    """Counts what is asked of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked = 0

    def fetch(self, target: Path) -> None:
        self.asked += 1
        target.write_bytes(self.content)


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    cache, store = ArtifactCache(tmp_path / "cache"), Store(b"subset")
    for name in "ab":
        placed = cache.place(sha256(b"subset"), tmp_path / "work" / name, store.fetch)
        assert placed.read_bytes() == b"subset"
    assert store.asked == 1


def test_several_at_once_fetch_it_once(tmp_path: Path) -> None:
    store = Store(b"subset")

    def place(number: int) -> None:
        ArtifactCache(tmp_path / "cache").place(sha256(b"subset"), tmp_path / str(number), store.fetch)

    threads = [threading.Thread(target=place, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.asked == 1
    assert all((tmp_path / str(number)).read_bytes() == b"subset" for number in range(8))


def test_a_damaged_one_is_fetched_again(tmp_path: Path) -> None:
    cache, store = ArtifactCache(tmp_path / "cache"), Store(b"subset")
    cache.place(sha256(b"subset"), tmp_path / "a", store.fetch)
    (kept,) = [path for path in (tmp_path / "cache").glob("??/*") if not path.name.startswith(".")]
    kept.unlink()
    kept.write_bytes(b"sunset")
    assert cache.place(sha256(b"subset"), tmp_path / "b", store.fetch).read_bytes() == b"subset"
    assert store.asked == 2


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache", max_bytes=250)
    contents = [bytes([number]) * 100 for number in range(3)]
    for number, content in enumerate(contents[:2]):
        cache.place(sha256(content), tmp_path / str(number), Store(content).fetch)
        (kept,) = (tmp_path / "cache").glob(f"??/{sha256(content)}")
        os.utime(kept, (number, number))
    # The first is used once more, so that the second is the one that goes.
    cache.place(sha256(contents[0]), tmp_path / "again", Store(contents[0]).fetch)
    cache.place(sha256(contents[2]), tmp_path / "2", Store(contents[2]).fetch)
    left = {path.name for path in (tmp_path / "cache").glob("??/*") if not path.name.startswith(".")}
    assert left == {sha256(contents[0]), sha256(contents[2])}
    assert (tmp_path / "1").read_bytes() == contents[1], "what was placed stays"


def test_a_download_that_goes_on_is_not_removed_and_one_that_was_given_up_is(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    given_up = cache / "00" / f".{'0' * 64}.part"
    given_up.parent.mkdir(parents=True)
    given_up.write_bytes(b"some")

    def fetch(kept: Path) -> None:
        part = kept.with_name(f".{kept.name}.part")
        part.write_bytes(b"sub")
        ArtifactCache(cache, max_bytes=0).place(sha256(b"scores"), tmp_path / "b", Store(b"scores").fetch)
        with part.open("ab") as file:
            file.write(b"set")
        part.replace(kept)

    placed = ArtifactCache(cache, max_bytes=0).place(sha256(b"subset"), tmp_path / "a", fetch)
    assert placed.read_bytes() == b"subset"
    left = [path.name for path in cache.glob("??/*") if not path.name.endswith(".lock")]
    assert left == [sha256(b"subset")]


def test_a_file_that_is_being_checked_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ArtifactCache(tmp_path / "cache", max_bytes=0)
    cache.place(sha256(b"subset"), tmp_path / "a", Store(b"subset").fetch)
    real = artifact_cache.sha256_of

    def check(path: Path) -> str:
        cache.place(sha256(b"scores"), tmp_path / "b", Store(b"scores").fetch)
        return real(path)

    monkeypatch.setattr(artifact_cache, "sha256_of", check)
    again = Store(b"subset")
    assert cache.place(sha256(b"subset"), tmp_path / "c", again.fetch).read_bytes() == b"subset"
    assert again.asked == 0


def test_a_file_larger_than_the_cache_is_placed_all_the_same(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache", max_bytes=10)
    assert cache.place(sha256(b"x" * 100), tmp_path / "a", Store(b"x" * 100).fetch).stat().st_size == 100


def test_another_file_system_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    cache = ArtifactCache(tmp_path / "cache")
    assert cache.place(sha256(b"subset"), tmp_path / "a", Store(b"subset").fetch).read_bytes() == b"subset"


@pytest.mark.parametrize("size", ["much", "-1", "inf", "nan"])
def test_a_size_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, size)
    with pytest.raises(InvalidValue, match=f"{SIZE_VARIABLE}={size} is not accepted"):
        ArtifactCache(tmp_path)
