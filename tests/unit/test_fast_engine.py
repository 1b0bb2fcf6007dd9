"""The fast engine computes what the reference does: same weights, same batches, same schedule, same steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fastai.callback.schedule import combined_cos
from made_up import digits
from torch.utils._python_dispatch import TorchDispatchMode

from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.training import session
from proxyflow.training.devices import Precision
from proxyflow.training.engine import TrainingSpec, get_engine
from proxyflow.training.fast_engine import FIRST_SCALE, LossScale
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings
from proxyflow.training.optimizers import OPTIMIZERS, split_parameters
from proxyflow.training.schedule import DIV, DIV_FINAL, MOMENTA, PCT_START, OneCycle

CPU = torch.device("cpu")
STEPS = 50


def first_losses(engine: str, optimizer: str, smoothing: float, rate: float) -> np.ndarray:
    subset = choose_subset(digits(), parse_strategy("random:0.5"), 0)
    hyperparameters = Hyperparameters(
        arch="xresnet18", optimizer=optimizer, label_smoothing=smoothing, learning_rate=rate
    )
    settings = TrainingSettings(epochs=6, batch_size=64, image_size=8)
    losses: list[float] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        losses.append(float(torch.nn.functional.cross_entropy(logits.double(), labels, label_smoothing=smoothing)))

    get_engine(engine).train(subset, TrainingSpec(hyperparameters, settings, 0, engine), CPU, on_batch=watch)
    return np.array(losses[:STEPS])


def largest_difference(optimizer: str, smoothing: float, rate: float) -> float:
    fast, reference = (first_losses(engine, optimizer, smoothing, rate) for engine in ("fast", "fastai"))
    assert len(fast) == len(reference) == STEPS
    return float(np.abs(fast / reference - 1).max())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 1e-5), ("sgd", 3e-4), ("rmsprop", 1e-5)])
def test_losses_are_those_of_the_reference_in_fp32(optimizer: str, smoothing: float, rate: float) -> None:
    """At rates at which a training does not blow up the last bit of a sum, which each engine adds up in its own order."""
    assert largest_difference(optimizer, smoothing, rate) < 1e-4


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_losses_are_those_of_the_reference_at_the_published_rate(
    optimizer: str, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In double precision, since at that rate 50 steps make percents of a difference in the eighth digit."""
    build = session.build_model
    monkeypatch.setattr(session, "resolve_precision", lambda *args: Precision("fp32", torch.float64))
    monkeypatch.setattr(session, "build_model", lambda *args: build(*args).double())
    assert largest_difference(optimizer, smoothing, 0.003) < 1e-4


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_the_schedule_is_fastais(steps: int) -> None:
    rate = combined_cos(PCT_START, 0.01 / DIV, 0.01, 0.01 / DIV_FINAL)
    momentum = combined_cos(PCT_START, *MOMENTA)
    schedule = OneCycle.of(steps, 0.01)
    for step in range(steps):
        assert schedule.rates[step] == pytest.approx(float(rate(step / steps)), rel=1e-5)
        assert schedule.momenta[step] == pytest.approx(float(momentum(step / steps)), rel=1e-5)


def test_norms_and_biases_do_not_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 6))
    decayed, others = split_parameters(model)
    assert [tuple(p.shape) for p in decayed] == [(4, 3, 3, 3), (6, 5)]
    assert [tuple(p.shape) for p in others] == [(4,), (4,), (4,), (6,)]
    for name, make in OPTIMIZERS.items():
        before = [p.detach().clone() for p in (*decayed, *others)]
        optimizer = make(model, 0.1)
        optimizer.step([torch.zeros_like(p) for p in optimizer.parameters], 0.5, 0.9)
        for old, new in zip(before, (*decayed, *others), strict=True):
            wanted = old * (1 - 0.5 * 0.1) if new.ndim > 1 else old
            assert torch.allclose(new, wanted, atol=1e-7), name


class Operations(TorchDispatchMode):
    """Counts what is dispatched, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_step_is_a_few_operations_and_asks_the_device_nothing(name: str) -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(40)))
    optimizer = OPTIMIZERS[name](model, 0.01)
    gradients = [torch.ones_like(p) for p in optimizer.parameters]
    with Operations() as counted:
        optimizer.step(gradients, 0.01, 0.9)
    assert len(counted.names) <= 6, counted.names
    assert not [n for n in counted.names if "item" in n or "_local_scalar_dense" in n or "_to_copy" in n]


def test_an_epoch_asks_the_device_once_whatever_its_length() -> None:
    def questions(fraction: str) -> int:
        subset = choose_subset(digits(), parse_strategy(f"random:{fraction}"), 0)
        settings = TrainingSettings(epochs=1, batch_size=16, image_size=8)
        spec = TrainingSpec(Hyperparameters(arch="xresnet18"), settings, 0, "fast")
        with Operations() as counted:
            get_engine("fast").train(subset, spec, CPU)
        return sum("_local_scalar_dense" in name for name in counted.names)

    assert questions("0.1") == questions("0.3")


def test_a_scaled_step_is_the_unscaled_one_and_an_overflow_is_left_out() -> None:
    def model() -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Linear(3, 2)

    x = torch.ones(4, 3)
    plain, scaled = model(), model()
    optimizer = OPTIMIZERS["adam"](plain, 0.01)
    optimizer.step(torch.autograd.grad(plain(x).square().mean(), optimizer.parameters), 0.1, 0.9)
    scale, other = LossScale(CPU), OPTIMIZERS["adam"](scaled, 0.01)
    scale.step(other, scaled(x).square().mean(), 0.1, 0.9)
    assert all(torch.allclose(a, b) for a, b in zip(plain.parameters(), scaled.parameters(), strict=True))
    assert float(scale.scale) == FIRST_SCALE
    before = [p.detach().clone() for p in scaled.parameters()]
    scale.step(other, scaled(x).square().mean() * 1e38, 0.1, 0.9)
    assert scale.skipped == 1
    assert float(scale.scale) == FIRST_SCALE / 2
    assert all(torch.equal(a, b) for a, b in zip(before, scaled.parameters(), strict=True))
