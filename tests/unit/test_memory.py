"""Who runs out of memory is told how much was needed."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from proxyflow.core import platform
from proxyflow.core.errors import OutOfMemory
from proxyflow.trainers.images import capture, memory
from proxyflow.trainers.images.capture import graphs_of
from proxyflow.trainers.images.memory import explain_out_of_memory, free_memory, requested_mb

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
CUDA_SAYS = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 GiB is free."
)
CPU_SAYS = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4194304 bytes."


@pytest.mark.parametrize(
    ("message", "mb"),
    [
        (CUDA_SAYS, 2560),
        (CPU_SAYS, 4),
        ("Tried to allocate 20.00 MiB (GPU 0)", 20),
        ("Tried to allocate 512.00 KiB", 0.5),
        ("no memory", 0),
    ],
)
def test_what_was_asked_for_is_read_from_what_torch_says(message: str, mb: float) -> None:
    assert requested_mb(message) == mb


def test_a_gpu_without_memory_says_how_much_was_needed_of_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(memory, "device_name", lambda device: "A Small GPU")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 6 * 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 8 * 2**30))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    with pytest.raises(OutOfMemory) as raised, explain_out_of_memory(GPU, 64, 128):
        raise torch.OutOfMemoryError(CUDA_SAYS)
    said = str(raised.value)
    assert said.startswith("out of memory on A Small GPU: at least 8,704 MB of 8,192 MB needed")
    assert "batch_size=64 and image_size=128" in said
    assert "another experiment" in said
    assert emptied == [True]
    assert raised.value.exit_status == 1


@pytest.mark.parametrize("error", [RuntimeError(CPU_SAYS), MemoryError()])
def test_a_cpu_without_memory_says_so_too(error: Exception) -> None:
    with pytest.raises(OutOfMemory, match=r"out of memory on cpu: at least"), explain_out_of_memory(CPU, 64, 128):
        raise error


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match=r"shapes differ"), explain_out_of_memory(CPU, 64, 128):
        raise RuntimeError("shapes differ")


def test_memory_that_torch_only_keeps_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [2**30]
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: free.append(5 * 2**30))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[-1], 8 * 2**30))
    assert free_memory(GPU) == 5 * 2**30


def test_graphs_that_are_only_kept_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_devices", {})
    for number in (0, 1):
        graphs_of(torch.device("cuda", number))._kept["a shape"] = SimpleNamespace(nbytes=1)  # type: ignore[assignment]
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 8 * 2**30))
    free_memory(GPU)
    assert [graphs_of(torch.device("cuda", number)).shapes for number in (0, 1)] == [[], ["a shape"]]


@pytest.mark.parametrize(("left", "expected"), [(math.inf, 1000.0), (300.0, 300.0)])
def test_memory_of_a_container_is_what_its_limit_leaves(
    left: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    monkeypatch.setattr(memory, "container_memory_left", lambda: left)
    assert free_memory(CPU) == expected


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that names this process's group; groups are below the folder `groups`."""
    monkeypatch.setattr(platform, "PROC", tmp_path)
    monkeypatch.setattr(platform, "GROUPS", tmp_path / "groups")
    (tmp_path / "self").mkdir()
    return tmp_path / "self" / "cgroup"


def test_the_nearest_limit_of_the_groups_counts_and_files_read_long_ago_do_not(own: Path) -> None:
    root = platform.GROUPS
    own.write_text("4:memory:/old\n0::/pod/container\n")
    for path, limit in (("pod", "1000"), ("pod/container", "max")):
        group = root / path
        group.mkdir(parents=True)
        for name, text in (("max", limit), ("current", "700"), ("stat", "anon 500\ninactive_file 150\n")):
            (group / f"memory.{name}").write_text(text)
    assert platform.container_memory_left() == 450
    (root / "pod" / "memory.max").write_text("max\n")
    assert platform.container_memory_left() == math.inf
    (root / "memory.max").write_text("300")
    (root / "memory.current").write_text("400")
    (root / "memory.stat").write_text("")
    own.write_text("0::/\n")
    assert platform.container_memory_left() == 0


def test_where_no_groups_are_there_is_no_limit(own: Path) -> None:
    assert platform.container_memory_left() == math.inf
    own.write_text("4:memory:/old\n")
    assert platform.container_memory_left() == math.inf
    own.write_text("0::/pod\n")
    assert platform.container_memory_left() == math.inf
