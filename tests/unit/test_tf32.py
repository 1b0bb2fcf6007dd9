"""fp32 is computed as the precision says, in every thread of the process, and torch is as before afterwards."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
import torch
from image_training import CPU, few_digits, spec_of, train
from made_up import digits

from proxyflow.core.errors import InvalidValue
from proxyflow.data.images.resize import resize_together
from proxyflow.distillation import distill as distillation
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.scoring import scorer
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.strategies.distillation_methods import parse_method
from proxyflow.trainers.images import fast_engine, fastai_engine, predictor, tf32
from proxyflow.trainers.images.arithmetic import FP32, Precision
from proxyflow.trainers.images.engine import engines
from proxyflow.trainers.images.tf32 import fp32_arithmetic
from proxyflow.trainers.model_access import Hooks

GPUS = [torch.device("cuda", number) for number in (0, 1)]
IN_TF32 = Precision("tf32", torch.float32)
OTHERS = [FP32, Precision("fp16", torch.float16), Precision("bf16", torch.bfloat16)]


def switches() -> tuple[str, str]:
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.fixture(params=[("none", "tf32"), ("tf32", "ieee")], autouse=True)
def before(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """torch's defaults, and the opposite of them."""
    defaults = switches()
    torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = request.param
    yield switches()
    torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = defaults


@pytest.mark.parametrize("precision", [IN_TF32, *OTHERS])
def test_products_and_convolutions_are_computed_as_the_precision_says(
    precision: Precision, before: tuple[str, str]
) -> None:
    mode = "tf32" if precision is IN_TF32 else "ieee"
    with fp32_arithmetic(GPUS[0], precision):
        assert switches() == (mode, mode)
        with fp32_arithmetic(GPUS[0], precision):
            assert switches() == (mode, mode)
        assert switches() == (mode, mode)
    assert switches() == before
    with pytest.raises(RuntimeError, match="no more"), fp32_arithmetic(GPUS[0], precision):
        raise RuntimeError("no more")
    assert switches() == before


def test_a_cpu_has_no_such_switch(before: tuple[str, str]) -> None:
    with fp32_arithmetic(CPU, FP32):
        assert switches() == before


def test_threads_that_compute_alike_share_the_switch_until_the_last_has_done(before: tuple[str, str]) -> None:
    inside, leave = threading.Event(), threading.Event()
    found: list[tuple[str, str]] = []

    def other() -> None:
        with fp32_arithmetic(GPUS[1], FP32):
            inside.set()
            leave.wait()
            found.append(switches())

    thread = threading.Thread(target=other)
    with fp32_arithmetic(GPUS[0], OTHERS[1]):
        thread.start()
        inside.wait()
    assert switches() == ("ieee", "ieee"), "the other thread still trains"
    leave.set()
    thread.join()
    assert found == [("ieee", "ieee")]
    assert switches() == before


@pytest.mark.parametrize(("first", "second"), [(IN_TF32, FP32), (OTHERS[1], IN_TF32)])
def test_trainings_of_one_process_that_would_compute_otherwise_are_refused(
    first: Precision, second: Precision, before: tuple[str, str]
) -> None:
    with fp32_arithmetic(GPUS[0], first):
        now = switches()
        with pytest.raises(InvalidValue) as raised, fp32_arithmetic(GPUS[1], second):
            pytest.fail("two trainings cannot have one switch in two positions")
        assert (raised.value.name, raised.value.value) == ("precision", second.name)
        assert switches() == now
    assert switches() == before
    with fp32_arithmetic(GPUS[1], second):
        assert switches() != before


@pytest.fixture
def seen_as_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the switches for what runs on a CPU in this test."""

    @contextlib.contextmanager
    def on_gpu(device: torch.device, precision: Precision) -> Iterator[None]:
        assert device == CPU
        with tf32.fp32_arithmetic(GPUS[0], precision):
            yield

    for module in (fast_engine, fastai_engine, predictor, distillation):
        monkeypatch.setattr(module, "fp32_arithmetic", on_gpu)


@pytest.mark.parametrize("engine", list(engines))
def test_every_engine_sets_it_for_its_steps(engine: str, seen_as_gpu: None, before: tuple[str, str]) -> None:
    """And nothing on the way asks torch's older switches, which it would answer with an error."""
    during: set[tuple[str, str]] = set()
    train(few_digits(0.05), spec_of(1, engine=engine), Hooks(on_batch=lambda *given: during.add(switches())))
    assert during == {("ieee", "ieee")}
    assert switches() == before


def test_scores_are_taken_as_their_models_are_trained(
    seen_as_gpu: None, before: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[tuple[str, str]] = []
    real = predictor.ModelOutputs
    monkeypatch.setattr(predictor, "ModelOutputs", lambda *given: during.append(switches()) or real(*given))
    scorer.score_examples(digits(), ScoringSpec(spec_of(1, batch_size=64), holdout_folds=2), CPU)
    assert len(during) == 3
    assert set(during) == {("ieee", "ieee")}
    assert switches() == before


def test_synthetic_images_are_made_in_fp32(seen_as_gpu: None, before: tuple[str, str]) -> None:
    during: set[tuple[str, str]] = set()
    spec = DistillationSpec(1, parse_method("distribution-matching", "iterations=2,width=4,depth=2"), image_size=12)
    distillation.distill(digits(), spec, CPU, "distilled:1", on_step=lambda done, share, state: during.add(switches()))
    assert during == {("ieee", "ieee")}
    assert switches() == before


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """What TF32 takes of a factor in fp32: 10 bits after the first."""
    if tensor.dtype != torch.float32:
        return tensor
    return ((tensor.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def test_images_look_alike_in_every_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    parts = torch.randint(0, 256, (6, 40, 30, 3), dtype=torch.uint8)
    boxes = torch.stack([torch.tensor([0, 0, height, 30 - height // 2]) for height in (40, 33, 20, 11, 8, 39)])
    flips = torch.arange(6) % 2 == 0
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    exact = resize_together(parts, boxes, flips, 16, 0)
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    bmm, einsum = torch.bmm, torch.einsum
    monkeypatch.setattr(torch, "bmm", lambda a, b: bmm(rounded(a), rounded(b)))
    monkeypatch.setattr(torch, "einsum", lambda how, a, b: einsum(how, rounded(a), rounded(b)))
    found = resize_together(parts, boxes, flips, 16, 0)
    assert found.dtype == exact.dtype == torch.uint8
    # What comes to rest between two levels may be rounded to either, as on any two devices; TF32 moves more.
    assert float((found != exact).double().mean()) < 0.01
