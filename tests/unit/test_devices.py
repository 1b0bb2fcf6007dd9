"""What runs is decided by rules that hold on machines that the tests do not have."""

from __future__ import annotations

import platform
import threading
import time

import pytest
import torch

from proxyflow.core import cores
from proxyflow.core.errors import InvalidValue
from proxyflow.trainers import devices
from proxyflow.trainers.devices import ContentionMonitor, configure_threads, with_index
from proxyflow.trainers.images import precision
from proxyflow.trainers.images.arithmetic import resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "size", "has_bf16", "expected"),
    [
        (CUDA, 32, False, "fp16"),
        (CUDA, 128, True, "fp16"),
        (CPU, 128, True, "bf16"),
        (CPU, 64, True, "bf16"),
        (CPU, 63, True, "fp32"),
        (CPU, 128, False, "fp32"),
    ],
)
def test_auto_is_what_is_fast_there(
    device: torch.device, size: int, has_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has_bf16)
    assert resolve_precision("auto", device, size).name == expected


@pytest.mark.parametrize(("name", "device", "size"), [("fp16", CPU, 128), ("bf16", CPU, 16), ("bf16", CUDA, 128)])
def test_a_precision_that_the_device_does_not_support_is_refused(
    name: str, device: torch.device, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(InvalidValue) as raised:
        resolve_precision(name, device, size)
    assert (raised.value.name, raised.value.value) == ("precision", name)
    assert resolve_precision("bf16", CPU, 17).name == "bf16"


@pytest.mark.parametrize("size", [8, 128])
def test_tf32_takes_a_gpu_that_has_it(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for device, has in ((CPU, True), (CUDA, False)):
        monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda has=has: has)
        with pytest.raises(InvalidValue) as raised:
            resolve_precision("tf32", device, size)
        assert (raised.value.name, raised.value.value) == ("precision", "tf32")
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    found = resolve_precision("tf32", CUDA, size)
    assert (found.name, found.dtype, found.autocast) == ("tf32", torch.float32, False)
    # What the variable says comes before what a program sets.
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(InvalidValue):
        resolve_precision("tf32", CUDA, size)


def test_a_gpu_is_named_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    for device, expected in ((CUDA, "cuda:3"), (torch.device("cuda", 1), "cuda:1"), (CPU, "cpu")):
        assert with_index(device) == torch.device(expected)


def test_cuda_is_initialized_before_its_statistics_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training of a process asks before anything is on the device, which torch answers with an error."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "init", lambda: calls.append("init"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    devices.reset_peak_memory(torch.device("cuda", 0), ())
    assert calls == ["init", "reset"]


@pytest.mark.skipif(
    not (precision.cpu_has_bf16() and platform.machine() == "x86_64"), reason="no x86 processor with bf16"
)
def test_the_reason_for_refusing_bf16_on_tiny_images_still_holds() -> None:
    """Where this fails, torch has mended it: raise the lowest version in pyproject.toml and drop the rule."""
    worst = 0.0
    for _ in range(20):
        junk = torch.full((64 * 64 * 9,), 1e9)
        del junk  # what was never written shows what was there before
        convolution = torch.nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        with torch.autocast("cpu", torch.bfloat16):
            out = convolution(torch.randn(8, 64, 1, 1))
        (gradient,) = torch.autograd.grad(out.float().square().mean(), convolution.weight)
        outside = gradient.clone()
        outside[:, :, 1, 1] = 0
        worst = max(worst, float(outside.abs().max().nan_to_num(float("inf"))))
    assert worst > 0


def test_threads_are_shared_between_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        for usable, workers, expected in ((8, 1, 8), (8, 3, 2), (2, 4, 1)):
            monkeypatch.setattr(devices, "usable_threads", lambda usable=usable: usable)
            assert configure_threads(workers) == torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


def test_usable_threads_heed_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cpu_count", lambda only_physical_cores=False: 4 if only_physical_cores else 8)
    for value, expected in (("", 4), ("2", 2), ("16", 4), ("0", 4), ("4,2", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert cores.usable_threads() == expected
    assert cores.usable_cores() == 8


def test_others_on_the_processor_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 100.0, 100.0, 103.0])
    monkeypatch.setattr(devices, "_cpu_seconds_of_others", lambda: next(seconds))
    assert ContentionMonitor(CPU).detected() is False
    assert ContentionMonitor(CPU).detected() is True
    monkeypatch.setattr(devices, "_cpu_seconds_of_others", lambda: None)
    assert ContentionMonitor(CPU).detected() is None


def test_under_a_quota_nobody_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 103.0])
    monkeypatch.setattr(devices, "_cpu_seconds_of_others", lambda: next(seconds))
    monkeypatch.setattr(devices, "usable_cores", lambda: 0.5)
    assert ContentionMonitor(CPU).detected() is None


def test_a_process_is_not_its_own_neighbour() -> None:
    begun = time.perf_counter()
    before = devices._cpu_seconds_of_others()
    if before is None:
        pytest.skip("this system does not say who used its processor")
    end = time.perf_counter() + 0.3
    work = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(lambda: time.perf_counter() < end, False)])
    own = time.process_time()
    work.start()
    work.join()
    after = devices._cpu_seconds_of_others()
    assert after is not None
    window = time.perf_counter() - begun
    # Whatever others did meanwhile, they cannot have had this process's time as well.
    assert after - before <= window * cores.usable_cores() + 0.5 - (time.process_time() - own) / 2


def test_a_gpu_is_shared_where_more_memory_is_taken_than_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 10 * 2**30)
    monkeypatch.setattr(devices, "_cpu_seconds_of_others", lambda: None)
    for free, shared in ((69, False), (60, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free * 2**30, 80 * 2**30))
        assert ContentionMonitor(CUDA).detected() is shared
