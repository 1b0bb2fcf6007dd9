"""A recorded training trains as an eager one does, for one training after the other and on several devices at once.

No machine of the tests has a GPU, so a stand-in plays CUDA's part: its graph remembers what was recorded on its device
and does it again on replay, on the same tensors, as a real one would.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from image_training import CPU, few_digits, losses, spec_of
from image_training import train as train_on
from made_up import digits
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.operations import Operations
from proxyflow.core import cuda as cuda_module
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.trainers import EpochRecord, Trained
from proxyflow.trainers.images import capture, fast_engine
from proxyflow.trainers.images import session as sessions
from proxyflow.trainers.images.arithmetic import Precision
from proxyflow.trainers.images.capture import MAX_GRAPHS, graphs_of
from proxyflow.trainers.images.grids import paper_grid
from proxyflow.trainers.images.optimizers import OPTIMIZERS
from proxyflow.trainers.images.schedule import OneCycle
from proxyflow.trainers.images.session import Session
from proxyflow.trainers.images.steps import IGNORED, LossScale, Tally, TrainingStep

GPUS = [torch.device("cuda", number) for number in (0, 1)]
EMPTY = (
    "The CUDA Graph is empty. This usually means that the graph was attempted to be captured on wrong device or stream."
)


class Stream:
    def __init__(self, device: torch.device) -> None:
        self.device = device

    def wait_stream(self, other: Stream) -> None:
        assert other.device == self.device


class Graph:
    """What was recorded; replays do it again."""

    def __init__(self) -> None:
        self.work: Callable[[], Tensor | None] | None = None
        self.out: Tensor | None = None
        self.memory: object = None

    def pool(self) -> object:
        return self.memory

    def replay(self) -> None:
        if self.work is None:
            return
        out = self.work()
        if self.out is not None and out is not None:
            self.out.copy_(out)


class StandIn:
    """CUDA's graphs, streams and devices, on a CPU.

    Attributes:
        recordings: what torch was given for each: device of the tensors, stream, mode and pool.
        total: bytes of each device.
        allocated: bytes that recordings have in use at most.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recordings: list[dict[str, Any]] = []
        self.total, self.allocated = 80 * 2**30, 0
        self.of_thread = threading.local()
        self.underway: Graph | None = None
        self.default_stream: Stream | None = None
        for name in ("on_device", "validate"):
            monkeypatch.setattr(TrainingStep, name, self._watched(getattr(TrainingStep, name)))
        replaced: dict[str, Any] = {
            "CUDAGraph": Graph,
            "graph": self.recording,
            "Stream": Stream,
            "current_stream": Stream,
            "stream": contextlib.nullcontext,
            "device": contextlib.nullcontext,
            "memory_allocated": lambda device: 0,
            "max_memory_allocated": lambda device: self.allocated,
            "reset_peak_memory_stats": lambda device: None,
            "mem_get_info": lambda device: (self.total, self.total),
            "empty_cache": lambda: None,
        }
        for name, value in replaced.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(capture, "_devices", {})

    @property
    def device(self) -> torch.device:
        """The device of the calling thread's tensors."""
        return getattr(self.of_thread, "device", GPUS[0])

    def _watched(self, real: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
        def run(step: TrainingStep, x: Tensor, y: Tensor) -> Tensor | None:
            out = real(step, x, y)
            graph = getattr(self.of_thread, "graph", None)
            if graph is not None:
                graph.work, graph.out = lambda: real(step, x, y), out
            return out

        return run

    @contextlib.contextmanager
    def recording(
        self, graph: Graph, pool: object = None, stream: Stream | None = None, capture_error_mode: str = "global"
    ) -> Iterator[None]:
        assert self.underway is None, "torch records one graph at a time per process"
        if stream is None:
            # torch has one stream for all recordings that name none, of whichever device came first.
            self.default_stream = stream = self.default_stream or Stream(self.device)
        told = {"device": self.device, "stream": stream, "mode": capture_error_mode, "pool": pool}
        self.recordings.append(told)
        self.underway, graph.memory = graph, pool or object()
        # Work on another device than the stream's is done and not recorded.
        self.of_thread.graph = graph if stream.device == self.device else None
        try:
            yield
        finally:
            self.underway = self.of_thread.graph = None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Makes the fast engine take a CPU for a GPU when it decides how to take its steps."""
    stand_in = StandIn(monkeypatch)
    real = fast_engine.make_step_runner

    @contextlib.contextmanager
    def stepping(session: Session, schedule: OneCycle) -> Iterator[fast_engine.StepRunner]:
        job = session.job
        with contextlib.ExitStack() as stack:
            session.job = dataclasses.replace(job, device=stand_in.device)
            try:
                found = stack.enter_context(real(session, schedule))
            finally:
                session.job = job
            yield found

    monkeypatch.setattr(fast_engine, "make_step_runner", stepping)
    monkeypatch.setattr(fast_engine, "_on_device", lambda schedule, device: _knobs(schedule))
    return stand_in


def _knobs(schedule: OneCycle) -> Tensor:
    return torch.stack([torch.from_numpy(schedule.rates), torch.from_numpy(schedule.momenta)], dim=1)


def train(seed: int = 0, epochs: int = 2, on_epoch: Any = None, **changes: Any) -> Trained:
    spec = spec_of(epochs, seed, **{"batch_size": 16, "learning_rate": 1e-4, **changes})
    return train_on(few_digits(0.05), spec, on_epoch=on_epoch, keep_best_weights=True)


def assert_same(one: Trained, other: Trained) -> None:
    """Equal but for rounding; the two ways to take a step add up in different orders."""
    assert one.result.examples_seen == other.result.examples_seen
    assert one.result.steps == other.result.steps
    for a, b in zip(one.result.records, other.result.records, strict=True):
        assert b.values["train_loss"] == pytest.approx(a.values["train_loss"], rel=1e-4)
        assert b.values["valid_loss"] == pytest.approx(a.values["valid_loss"], rel=1e-3)
        assert b.values["valid_accuracy"] == pytest.approx(a.values["valid_accuracy"], abs=0.01)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_a_recorded_training_is_an_eager_one(optimizer: str, request: pytest.FixtureRequest) -> None:
    eager = [train(seed, optimizer=optimizer) for seed in (0, 1)]
    stand_in = request.getfixturevalue("cuda")
    recorded = [train(seed, optimizer=optimizer) for seed in (0, 1)]
    assert len(stand_in.recordings) == 2, "steps and validation; the second training has the first one's graphs"
    for one, other in zip(eager, recorded, strict=True):
        assert (one.result.params["execution"], other.result.params["execution"]) == ("eager", "CUDA graph")
        assert_same(one, other)
    # Each result has its own model, though both trainings had one.
    first, second = (next(trained.model.parameters()) for trained in recorded)
    assert first.data_ptr() != second.data_ptr()
    assert not torch.equal(first, second)


def test_what_torch_is_given_to_record_with(cuda: StandIn) -> None:
    train()
    cuda.of_thread.device = GPUS[1]
    train()
    steps, validation, *others = cuda.recordings
    assert [told["device"] for told in cuda.recordings] == [GPUS[0]] * 2 + [GPUS[1]] * 2
    for told in cuda.recordings:
        assert told["stream"].device == told["device"]
        assert told["mode"] == "thread_local"
    assert steps["pool"] is None
    assert validation["pool"] is not None, "one is replayed after the other, so both may use the same memory"
    assert others[0]["pool"] is None, "memory is of one device"
    train(optimizer="sgd")
    assert cuda.recordings[4]["pool"] is others[1]["pool"]
    assert cuda.recordings[4]["stream"] is others[0]["stream"]


def test_two_devices_in_two_threads_train_each_its_own_model(cuda: StandIn) -> None:
    """And record one after the other: whoever is asked meanwhile must wait."""
    alone = [train(seed) for seed in (0, 1)]
    capture.reset()
    cuda.recordings.clear()
    together, errors = threading.Barrier(2), list[BaseException]()
    found: dict[int, list[Trained]] = {}

    def work(number: int) -> None:
        try:
            cuda.of_thread.device = GPUS[number]
            together.wait()
            found[number] = [train(number, **changes) for changes in ({}, {"optimizer": "sgd"}, {})]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(cuda.recordings) == 8, "two shapes on each device, and the third training has the first one's graphs"
    assert all(told["stream"].device == told["device"] for told in cuda.recordings)
    for number, (first, other, again) in found.items():
        assert {each.result.params["execution"] for each in (first, other, again)} == {"CUDA graph"}
        assert_same(alone[number], first)
        assert losses(again.result) == losses(first.result)
        assert losses(other.result) != losses(first.result)


def of_other_thread(ask: Callable[[], bool]) -> bool:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(ask()))
    thread.start()
    thread.join()
    return found[0]


def free() -> bool:
    got = cuda_module.capture_lock.acquire(blocking=False)
    if got:
        cuda_module.capture_lock.release()
    return got


def test_nothing_else_records_or_gives_back_memory_meanwhile(cuda: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = cuda.recording

    @contextlib.contextmanager
    def recording(*args: Any, **kwargs: Any) -> Iterator[None]:
        with real(*args, **kwargs):
            asked.append(of_other_thread(free))
            yield

    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append(of_other_thread(free)))
    train()
    cuda_module.empty_cache()
    assert asked == [False, False, False]
    assert of_other_thread(free)


def test_memory_that_torch_will_not_give_back_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    cuda_module.empty_cache()
    assert of_other_thread(free)


def test_graphs_serve_all_rates_and_lengths_but_no_other_shape(cuda: StandIn) -> None:
    train()
    train(epochs=3, learning_rate=3e-4, flip_probability=0.0)
    assert len(cuda.recordings) == 2
    for number, changes in enumerate(({"optimizer": "sgd"}, {"label_smoothing": 0.0}, {"stem_channels_1": 4})):
        train(**changes)
        assert len(cuda.recordings) == 2 * (2 + number)
    assert len(graphs_of(GPUS[0]).shapes) == 4
    train()
    assert len(cuda.recordings) == 8, "a study comes back to its shapes with the next seed"


def test_graphs_serve_no_other_batch_classes_decay_or_precision(cuda: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, few = {"batch_size": 16}, few_digits(0.05)
    half = choose_subset(digits(), parse_strategy("half-classes:0.1"), 0)
    half, few = (dataclasses.replace(each, valid=each.valid.take(np.arange(100))) for each in (half, few))
    changes = ({}, {"batch_size": 8}, {"image_size": 12}, {"weight_decay": 0.0})
    cases = [(usual | change, few_digits(0.05)) for change in changes] + [(usual, half), (usual, few)]
    for number, (case, subset) in enumerate(cases, start=1):
        assert train_on(subset, spec_of(1, **case)).result.params["execution"] == "CUDA graph"
        assert len(cuda.recordings) == 2 * number
    monkeypatch.setattr(sessions, "resolve_precision", lambda *asked: Precision("tf32", torch.float32))
    assert train_on(few_digits(0.05), spec_of(1, **usual)).result.params["execution"] == "CUDA graph"
    assert len(cuda.recordings) == 2 * len(cases) + 2


def test_a_grid_of_all_and_half_of_the_classes_is_kept_whole() -> None:
    built_in = {each.replace(learning_rate=1.0, flip_probability=0.0) for each in paper_grid()}
    assert 2 * len(built_in) == 28 <= MAX_GRAPHS


def test_the_graphs_that_were_used_last_are_kept_as_memory_and_number_allow(
    cuda: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = graphs_of(GPUS[0])
    train()
    one = kept.nbytes
    assert one > 2 * sum(p.nbytes for p in train().model.parameters()), "the averages of Adam count as well"
    monkeypatch.setattr(capture, "MAX_GRAPHS", 2)
    train(label_smoothing=0.0)
    train()
    train(stem_channels_1=4)
    assert len(kept.shapes) == 2
    before = len(cuda.recordings)
    train()
    assert len(cuda.recordings) == before, "this one was used since the one that had to go"
    cuda.total = int(one / capture.MAX_GRAPH_MEMORY_SHARE)
    train()
    assert len(kept.shapes) == 1
    cuda.total = 1
    train()
    assert len(cuda.recordings) == before, "the last one stays whatever it takes"


def test_memory_of_other_shapes_is_not_counted_as_a_trainings(cuda: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[Session] = []
    real = Session.trained
    monkeypatch.setattr(Session, "trained", lambda session: sessions.append(session) or real(session))
    cuda.allocated = 10 * 2**20
    train()
    train(optimizer="sgd")
    train()
    first, second, third = (session.graph_bytes for session in sessions)
    assert first == 10 * 2**20
    assert second < first, "torch counts the first one's weights and averages while the second trains"
    kept = graphs_of(GPUS[0])
    assert (first - second) + (first - third) == kept.nbytes


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted when stream is capturing"), None])
def test_a_step_that_cannot_be_recorded_is_taken_eagerly_and_says_why(
    error: Exception | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train()
    cuda: StandIn = request.getfixturevalue("cuda")
    tried: list[bool] = []

    @contextlib.contextmanager
    def refuse(graph: object, **kwargs: object) -> Iterator[None]:
        tried.append(True)
        if error is not None:
            raise error
        yield
        warnings.warn(EMPTY, UserWarning, stacklevel=1)

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fallen_back, again = train(), train()
    for trained in (fallen_back, again):
        assert trained.result.params["execution"].startswith("eager, because ")
        assert str(error or "The CUDA Graph is empty") in trained.result.params["execution"]
        # The steps taken to warm up have left no trace.
        assert_same(plain, trained)
    assert len(tried) == 1, "what torch is left with after a failure is nothing to record in"
    cuda.of_thread.device = GPUS[1]
    train()
    assert len(tried) == 2, "another device may"


@pytest.mark.parametrize("dead", [0, 1])
def test_a_graph_whose_replay_does_nothing_is_not_trained_with(
    dead: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that never move would be logged as a training that reached the accuracy of chance."""
    plain = train()
    cuda: StandIn = request.getfixturevalue("cuda")
    made: list[Graph] = []

    def graph() -> Graph:
        made.append(Graph())
        if len(made) - 1 == dead:
            made[-1].replay = lambda: None  # type: ignore[method-assign]
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    trained = train()
    assert len(cuda.recordings) == 2
    assert "counted no example" in trained.result.params["execution"]
    assert_same(plain, trained)


def test_a_stream_of_another_device_would_be_noticed(cuda: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(GPUS[0]))
    monkeypatch.setattr(Stream, "wait_stream", lambda self, other: None)
    assert train().result.params["execution"] == "CUDA graph"
    cuda.of_thread.device = GPUS[1]
    assert train().result.params["execution"].startswith("eager, because ")


def test_what_other_shapes_hold_makes_room_for_one_that_runs_out_of_memory(
    cuda: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    real, short = cuda.recording, [True]

    @contextlib.contextmanager
    def recording(*args: Any, **kwargs: Any) -> Iterator[None]:
        if short[0]:
            short[0] = bool(graphs_of(GPUS[0]).shapes)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        with real(*args, **kwargs):
            yield

    monkeypatch.setattr(torch.cuda, "graph", recording)
    assert (
        train(optimizer="sgd").result.params["execution"]
        == "eager, because the step could not be captured: CUDA out of memory."
    )
    assert graphs_of(GPUS[0]).shapes == []
    assert train(optimizer="sgd").result.params["execution"] == "CUDA graph", (
        "too little memory at one time is not for good"
    )


def test_one_training_at_a_time_has_a_devices_graphs(cuda: StandIn) -> None:
    """They share memory, and a model."""
    inner: list[Trained] = []
    outer = train(on_epoch=lambda record: inner.append(train()) if not inner else None)
    assert outer.result.params["execution"] == "CUDA graph"
    assert "another training of this process" in inner[0].result.params["execution"]
    assert_same(outer, inner[0])
    assert train().result.params["execution"] == "CUDA graph"


def test_a_training_that_fails_leaves_the_device_to_the_next(cuda: StandIn) -> None:
    def fail(record: EpochRecord) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        train(on_epoch=fail)
    assert graphs_of(GPUS[0]).shapes == []
    assert train().result.params["execution"] == "CUDA graph"


def test_examples_that_fill_up_a_batch_count_for_nothing() -> None:
    torch.manual_seed(0)
    prediction, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    whole, filled = Tally(CPU), Tally(CPU)
    whole.add(loss(prediction[:3], labels[:3]), prediction[:3], labels[:3])
    prediction[3:] = float("nan")
    labels[3:] = IGNORED
    filled.add(loss(prediction, labels), prediction, labels)
    assert filled.sums[0].tolist() == pytest.approx(whole.sums[0].tolist())
    assert float(filled.sums[0, 2]) == 3


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
    monkeypatch.setattr(torch.autograd, "grad", lambda loss, inputs, **how: tuple(map(torch.empty_like, inputs)))
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
            step.validate(x, y)
    assert prediction.device.type == "cuda"
    assert counted.between_devices == []
    assert counted.waits == []
