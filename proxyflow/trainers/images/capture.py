"""CUDA graphs: captures training steps and validation once and replays them, so that a step costs one launch.

A graph contains the addresses of a model, its optimizer state and a batch. Trainings of the same shape reuse a graph,
one after the other, so a study captures once per shape, not once per training.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor

from proxyflow.core import cuda
from proxyflow.core.errors import one_line
from proxyflow.trainers.images.steps import IGNORED, TrainingStep

T = TypeVar("T")
Batch = tuple[Tensor, Tensor]

# Steps on a side stream before a capture, as torch recommends, in which libraries choose their algorithms.
WARM_UP_STEPS = 3

# Graphs cached per device: grid=paper has 14 shapes, and 14 more on half of the classes.
MAX_GRAPHS = 32

# Maximum share of a device's memory for weights, optimizer states and batches of cached graphs. All graphs share a
# memory pool for intermediate results.
MAX_GRAPH_MEMORY_SHARE = 0.25


class CaptureFailed(RuntimeError):
    """No graph is available; the training runs eagerly."""


class Recorder:
    """Captures on one device with its own stream; torch's default capture stream belongs to the first device used."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def record(self, work: Callable[[], T], pool: Any = None) -> tuple[torch.cuda.CUDAGraph, T]:
        """Warms up, then captures `work`; returns the graph and the result of `work` during capture.

        Args:
            work: the operations to capture.
            pool: memory pool of other graphs of the device to share; None for a new one.

        Raises:
            RuntimeError: `work` contains an operation that cannot be captured.
            UserWarning: the captured graph is empty.
        """
        with torch.cuda.device(self.device):
            current = torch.cuda.current_stream(self.device)
            # On the stream of the capture, so that per-stream allocations of libraries are not part of the graph.
            self.stream.wait_stream(current)
            with torch.cuda.stream(self.stream):
                for _ in range(WARM_UP_STEPS):
                    work()
            current.wait_stream(self.stream)
            # Permanently: the warning must not be missed, and filters apply to the whole process.
            warnings.filterwarnings("error", message="The CUDA Graph is empty")
            graph = torch.cuda.CUDAGraph()
            # thread_local: other threads may use other devices meanwhile.
            capture = torch.cuda.graph(graph, pool=pool, stream=self.stream, capture_error_mode="thread_local")
            # The middle block restores the stream if the capture fails.
            with cuda.capture_lock, torch.cuda.stream(current), capture:
                out = work()
        return graph, out


class CapturedTraining:
    """Steps and validation as CUDA graphs.

    Attributes:
        reserved_bytes: memory for intermediate results of replays.
        nbytes: memory of weights, optimizer state and batches.

    Args:
        step: the step to capture; call `begin` to reset its model and optimizer afterwards.
        batch, valid_batch: example batches; a later validation batch may be smaller.
        recorder: the recorder of the device.
        pool: see `Recorder.record`.

    Raises:
        CaptureFailed: a replay did nothing.
        RuntimeError: the step contains an operation that cannot be captured.
        UserWarning: the captured graph is empty.
    """

    def __init__(
        self, step: TrainingStep, batch: Batch, valid_batch: Batch, recorder: Recorder, pool: Any = None
    ) -> None:
        self.step = step
        self.x, self.y = (part.clone() for part in batch)
        self.valid_x, self.valid_y = (part.clone() for part in valid_batch)
        device = recorder.device
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step.model.train()
        self.training, self.prediction = recorder.record(lambda: step.on_device(self.x, self.y), pool)
        step.model.eval()
        shared = self.training.pool()
        self.validation, _ = recorder.record(lambda: step.validate(self.valid_x, self.valid_y), shared)
        # Replays use this memory without allocating it, so torch's statistics lack it.
        self.reserved_bytes = torch.cuda.max_memory_allocated(device) - before
        torch.cuda.reset_peak_memory_stats(device)
        self.nbytes = sum(tensor.nbytes for tensor in (*step.state().values(), *batch, *valid_batch))
        self._check()

    def _check(self) -> None:
        """Replays both graphs once: a graph that captured nothing would train nothing, without an error."""
        self.step.tally.reset()
        self.step.valid.reset()
        for graph, name in ((self.training, "training step"), (self.validation, "validation batch")):
            before = self.step.counted()
            graph.replay()
            if torch.equal(before, self.step.counted()):
                raise CaptureFailed(f"the replay of a {name} counted no example")

    def begin(self, weights: dict[str, Tensor]) -> None:
        """Resets model, optimizer and loss scale for a new training."""
        with torch.no_grad():
            for name, value in self.step.model.state_dict().items():
                value.copy_(weights[name])
        self.step.optimizer.reset()
        if self.step.scale:
            self.step.scale.reset()

    def take(self, x: Tensor, y: Tensor) -> Tensor:
        """Takes a step; returns logits that are valid until the next replay of any graph."""
        self.x.copy_(x)
        self.y.copy_(y)
        self.training.replay()
        return self.prediction

    def validate(self, x: Tensor, y: Tensor) -> None:
        """Evaluates a validation batch; a smaller batch than the captured one is padded with ignored labels."""
        n = len(y)
        self.valid_x[:n].copy_(x)
        self.valid_y.fill_(IGNORED)
        self.valid_y[:n].copy_(y)
        self.validation.replay()


Record = Callable[[Recorder, Any], CapturedTraining]


class DeviceGraphs:
    """The graph cache of a device; one training at a time borrows graphs, because they share memory.

    Keeps the `MAX_GRAPHS` most recently used graphs, and fewer if they take more than `MAX_GRAPH_MEMORY_SHARE` of the
    device's memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, CapturedTraining] = OrderedDict()
        self._recorder: Recorder | None = None
        self._busy = False
        self._failure: str | None = None

    @property
    def shapes(self) -> list[Hashable]:
        """Shapes of the cached graphs, the most recently used last."""
        with self._lock:
            return list(self._kept)

    @property
    def nbytes(self) -> int:
        """Memory of the cached graphs, see `CapturedTraining.nbytes`."""
        with self._lock:
            return sum(graph.nbytes for graph in self._kept.values())

    @contextmanager
    def lend(self, shape: Hashable, record: Record) -> Iterator[CapturedTraining]:
        """Borrows the graphs of a shape; captures them if needed, and caches them unless the training fails.

        Args:
            shape: everything that the graphs depend on.
            record: captures them with a recorder, in a memory pool.

        Raises:
            CaptureFailed: capture failed, now or earlier in this process, or another training uses the device.
            OutOfMemoryError: these graphs alone do not fit into memory.
        """
        with self._lock:
            if self._busy:
                raise CaptureFailed("another training of this process uses the device")
            if self._failure is not None:
                raise CaptureFailed(self._failure)
            self._busy = True
            graph = self._kept.pop(shape, None)
        try:
            if graph is None:
                graph = self._record(record)
            yield graph
            self._keep(shape, graph)
        finally:
            with self._lock:
                self._busy = False

    def forget(self) -> None:
        """Frees the cached graphs."""
        with self._lock:
            self._kept.clear()
        cuda.empty_cache()

    def _record(self, record: Record) -> CapturedTraining:
        if self._recorder is None:
            self._recorder = Recorder(self.device)
        with self._lock:
            pool = next((graph.training.pool() for graph in self._kept.values()), None)
        try:
            with suppress(torch.OutOfMemoryError):
                return record(self._recorder, pool)
            # Other shapes may hold the memory that this one needs.
            self.forget()
            return record(self._recorder, None)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, UserWarning) as error:
            # A failed capture leaves torch's allocator in an undefined state, so no further capture is tried.
            self._failure = one_line(error)
            raise CaptureFailed(self._failure) from error

    def _keep(self, shape: Hashable, graph: CapturedTraining) -> None:
        limit = MAX_GRAPH_MEMORY_SHARE * torch.cuda.mem_get_info(self.device)[1]
        with self._lock:
            self._kept[shape] = graph
            total = sum(each.nbytes for each in self._kept.values())
            # Always keeps the last one, because the next training most likely has its shape.
            while len(self._kept) > 1 and (len(self._kept) > MAX_GRAPHS or total > limit):
                _, oldest = self._kept.popitem(last=False)
                total -= oldest.nbytes


_devices: dict[torch.device, DeviceGraphs] = {}
_devices_lock = threading.Lock()


def graphs_of(device: torch.device) -> DeviceGraphs:
    """The graph cache of a device (with index)."""
    with _devices_lock:
        return _devices.setdefault(device, DeviceGraphs(device))


def forget(device: torch.device) -> None:
    """Frees the cached graphs of a device."""
    if device.type == "cuda":
        graphs_of(device).forget()


def reset() -> None:
    """Frees all graph caches and forgets failures."""
    with _devices_lock:
        _devices.clear()
    cuda.empty_cache()
