"""Each fallback does what the function does that it stands for."""

from __future__ import annotations

import errno
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from proxyflow.core import platform
from proxyflow.data.images.store import OpenFile
from proxyflow.tracking.artifacts.cache import ArtifactCache
from proxyflow.tracking.runs import owner
from proxyflow.trainers.images import precision

PACKAGE = Path(platform.__file__).parent
# What Windows or macOS lacks of the standard library and of the file system.
NOT_EVERYWHERE = re.compile(
    r"/proc\b|/sys/|\bimport (fcntl|resource|pwd|grp|termios)\b|\bsignal\.(SIGKILL|SIGHUP|SIGUSR\d|SIGALRM|alarm|setitimer)"
    r"|\bos\.(posix_\w+|preadv?|pwritev?|link|fork\w*|kill|killpg|setsid|getp?g?uid|gete[ug]id|getgid|uname|nice|sysconf"
    r"|statvfs|sched_\w+|getloadavg|mkfifo|chown|O_[A-Z]+)\b|preexec_fn|start_new_session",
    re.MULTILINE,
)


def test_no_other_module_calls_what_not_every_system_has() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert {path for path, text in sources.items() if NOT_EVERYWHERE.search(text)} == {PACKAGE / "platform.py"}


def test_a_process_has_a_name_where_there_are_no_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert platform.process_namespace() > 0
    monkeypatch.setattr(platform, "PROC", tmp_path)
    assert platform.process_namespace() == 0
    owner._host.cache_clear()
    try:
        mine = owner.this_process()
        assert owner.is_on_this_host(mine)
        assert not owner.is_dead(mine)
    finally:
        owner._host.cache_clear()


def test_bf16_is_chosen_only_where_the_processor_is_known_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "PROC", tmp_path)
    for text, expected in ((None, "fp32"), ("flags\t: fpu avx512_bf16\n", "bf16"), ("Features: bf16 i8mm\n", "bf16")):
        if text is not None:
            (tmp_path / "cpuinfo").write_text(text)
        precision.cpu_has_bf16.cache_clear()
        assert precision.precision_name("auto", "cpu", 128) == expected
    precision.cpu_has_bf16.cache_clear()


@pytest.mark.parametrize("n_bytes", [1, platform.BLOCK_BYTES, 2 * platform.BLOCK_BYTES + 7])
@pytest.mark.parametrize("refusal", [None, errno.EOPNOTSUPP, errno.EINVAL])
def test_room_is_made_where_the_system_or_the_file_system_allocates_none(
    refusal: int | None, n_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refusal is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:

        def refuse(*args: object) -> None:
            raise OSError(refusal, "no")

        monkeypatch.setattr(os, "posix_fallocate", refuse)
    with (tmp_path / "file").open("wb") as file:
        platform.allocate(file, n_bytes)
    assert (tmp_path / "file").read_bytes() == bytes(n_bytes)
    assert (tmp_path / "file").stat().st_blocks * 512 >= n_bytes  # no hole, which would be full disk's trap


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="full"):
        platform.allocate(file, 10)


@pytest.mark.parametrize("lacking", [(), ("preadv",), ("preadv", "pread")], ids=len)
def test_threads_read_a_file_at_places_of_their_own(
    lacking: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)
    # What Windows would take for the end of a line, or of a text.
    content[:4] = (13, 10, 26, 10)
    (tmp_path / "file").write_bytes(content.tobytes())
    for name in lacking:
        monkeypatch.delattr(os, name)
    file = OpenFile(tmp_path / "file")
    begins = np.random.default_rng(1).integers(0, 90_000, 2000).tolist()
    with ThreadPoolExecutor(8) as pool:
        for begin, found in zip(begins, pool.map(lambda begin: file.read(begin, 1000), begins), strict=True):
            assert np.array_equal(found, content[begin : begin + 1000])
    assert np.array_equal(file.read(0, 4), content[:4])
    with pytest.raises(OSError, match="truncated"):
        file.read(99_990, 20)


def test_an_artifact_is_placed_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.core.files import sha256_of

    (tmp_path / "source").write_bytes(b"content")
    checksum = sha256_of(tmp_path / "source")
    monkeypatch.delattr(os, "link")
    cache = ArtifactCache(tmp_path / "cache", 10**6)
    placed = cache.place(checksum, tmp_path / "target", lambda path: path.write_bytes(b"content"))
    assert placed.read_bytes() == b"content"
    assert placed.stat().st_nlink == 1


def test_a_store_is_made_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.tracking.databases import open_database

    monkeypatch.delattr(os, "link")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = open_database(uri, uri, 5)
    assert client.search_experiments()
    assert [path.name for path in tmp_path.glob("*.db*")] == ["mlflow.db"]


def test_memory_is_counted_in_the_same_unit_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = np.ones(2**24)
    told = [platform.peak_memory()]
    monkeypatch.setattr(platform, "PROC", tmp_path / "none")
    platform.reset_peak_memory()
    told.append(platform.peak_memory())
    monkeypatch.setitem(sys.modules, "resource", None)
    told.append(platform.peak_memory())
    assert all(ballast.nbytes <= each <= platform.total_memory() for each in told)
    assert max(told) < 16 * min(told)  # a wrong unit is a factor of 1,024


def test_cores_are_those_of_the_system_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    told = platform.cpu_affinity()
    monkeypatch.delattr(os, "sched_getaffinity")
    assert platform.cpu_affinity() == told
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    assert platform.cpu_affinity() is None
