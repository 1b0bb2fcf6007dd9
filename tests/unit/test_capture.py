"""A recorded step trains as an eager one does, for one training after the other.

No machine of the tests has a GPU, so a stand-in plays CUDA's part: its graph remembers what was recorded and does it
again on replay, on the same tensors, as a real one would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from made_up import digits
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.operations import Operations
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.training import capture, fast_engine
from proxyflow.training.capture import KEPT_GRAPHS
from proxyflow.training.devices import Precision
from proxyflow.training.engine import Trained, TrainingSpec, get_engine
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings
from proxyflow.training.optimizers import OPTIMIZERS
from proxyflow.training.schedule import OneCycle
from proxyflow.training.session import Session
from proxyflow.training.steps import LossScale, TrainingStep

CPU = torch.device("cpu")


class StandIn:
    """CUDA's graphs and streams, on a CPU."""

    recordings = 0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current: StandIn.Graph | None = None
        real = TrainingStep.on_device

        def on_device(step: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
            prediction = real(step, x, y)
            if self.current is not None:
                self.current.work, self.current.out = lambda: real(step, x, y), prediction
            return prediction

        monkeypatch.setattr(TrainingStep, "on_device", on_device)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", StandIn.Graph)
        monkeypatch.setattr(torch.cuda, "graph", self.recording)
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: StandIn.Stream())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: StandIn.Stream())
        monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
        for name in ("memory_allocated", "max_memory_allocated", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda device: 0)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(capture, "_kept", type(capture._kept)())

    class Stream:
        def wait_stream(self, other: object) -> None:
            pass

    class Graph:
        work: Callable[[], Tensor]
        out: Tensor

        def replay(self) -> None:
            self.out.copy_(self.work())

    @contextlib.contextmanager
    def recording(self, graph: Graph, capture_error_mode: str = "global") -> Iterator[None]:
        self.current = graph
        self.recordings += 1
        yield
        self.current = None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Makes the fast engine take a CPU for a GPU when it decides how to take its steps."""
    real = fast_engine._stepping

    def stepping(session: Session, schedule: OneCycle) -> object:
        device = session.device
        session.device = _Named("cuda")  # type: ignore[assignment]
        try:
            return real(session, schedule)
        finally:
            session.device = device

    monkeypatch.setattr(fast_engine, "_stepping", stepping)
    monkeypatch.setattr(fast_engine, "_on_device", lambda schedule, device: _knobs(schedule))
    return StandIn(monkeypatch)


class _Named:
    def __init__(self, name: str) -> None:
        self.type = name

    def __hash__(self) -> int:
        return hash(self.type)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and other.type == self.type


def _knobs(schedule: OneCycle) -> Tensor:
    return torch.stack([torch.from_numpy(schedule.rates), torch.from_numpy(schedule.momenta)], dim=1)


def part(fraction: str = "0.05") -> Subset:
    return choose_subset(digits(), parse_strategy(f"random:{fraction}"), 0)


def train(seed: int = 0, epochs: int = 2, **changes: object) -> Trained:
    hyperparameters = Hyperparameters(arch="xresnet18", learning_rate=1e-4, **changes)  # type: ignore[arg-type]
    spec = TrainingSpec(hyperparameters, TrainingSettings(epochs, 16, 8), seed, "fast")
    return get_engine("fast").train(part(), spec, CPU, keep_best=True)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_a_recorded_training_is_an_eager_one(optimizer: str, request: pytest.FixtureRequest) -> None:
    eager = [train(seed, optimizer=optimizer) for seed in (0, 1)]
    stand_in = request.getfixturevalue("cuda")
    recorded = [train(seed, optimizer=optimizer) for seed in (0, 1)]
    assert stand_in.recordings == 1, "the second training has the first one's graph"
    for one, other in zip(eager, recorded, strict=True):
        assert (one.result.execution, other.result.execution) == ("eager", "CUDA graph")
        for a, b in zip(one.result.records, other.result.records, strict=True):
            assert b.train_loss == pytest.approx(a.train_loss, rel=1e-4)
        assert one.result.examples_seen == other.result.examples_seen
    # Each result has its own model, though both trainings had one.
    first, second = (next(trained.model.parameters()) for trained in recorded)
    assert first.data_ptr() != second.data_ptr()
    assert not torch.equal(first, second)


def test_a_graph_serves_all_rates_and_lengths_but_no_other_shape(cuda: StandIn) -> None:
    train()
    train(epochs=3)
    assert cuda.recordings == 1
    for number, changes in enumerate(({"optimizer": "sgd"}, {"label_smoothing": 0.0}, {"stem_channels_1": 4})):
        train(**changes)
        assert cuda.recordings == 2 + number
    assert len(capture._kept) == KEPT_GRAPHS


def test_a_step_that_cannot_be_recorded_is_taken_eagerly_and_says_why(
    cuda: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def refuse(graph: object, capture_error_mode: str = "global") -> Iterator[None]:
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    fallen_back = train()
    assert fallen_back.result.execution.startswith("eager, as the step could not be recorded: operation not permitted")
    monkeypatch.undo()
    plain = train()
    # The steps taken to warm up have left no trace.
    expected = [r.train_loss for r in plain.result.records]
    assert [r.train_loss for r in fallen_back.result.records] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_all_that_a_recorded_step_touches_is_on_its_device(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy from the host in a step, a number made into a tensor there, say, could not be recorded."""

    def fused(*args: object, **kwargs: object) -> None:
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        assert tensors
        assert {tensor.device.type for tensor in tensors} == {"cuda"}
        assert {tensor.dtype for tensor in tensors} == {torch.float32}

    # Made-up tensors have neither a backward pass nor these kernels.
    for name in ("_fused_adamw_", "_fused_sgd_"):
        monkeypatch.setattr(torch, name, fused)
    monkeypatch.setattr(torch.autograd, "grad", lambda loss, inputs: tuple(torch.empty_like(p) for p in inputs))
    with FakeTensorMode():
        with torch.device("cuda"):
            model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
            x, y = torch.empty(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)
        optimizer_ = OPTIMIZERS[optimizer](model, 0.01)
        step = TrainingStep(
            model, nn.CrossEntropyLoss(label_smoothing=0.1), optimizer_, Precision("fp32", torch.float32)
        )
        step.scale = LossScale(torch.device("cuda"))
        with Operations() as counted:
            prediction = step.on_device(x, y)
    assert prediction.device.type == "cuda"
    assert counted.between_devices == []
    assert counted.waits == []
