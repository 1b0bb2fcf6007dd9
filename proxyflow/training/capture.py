"""Training steps recorded once as a CUDA graph and replayed, so that a step costs one launch and not a thousand.

A graph holds addresses: of a model, its optimizer's averages and a batch. Trainings of one shape use the same ones, one
after the other, so a study records once per shape and not once per training.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from proxyflow.training.steps import TrainingStep

# torch's advice is to run a few steps on a side stream, in which libraries choose their algorithms.
WARM_UP_STEPS = 3

# A study alternates between at most so many shapes: all classes and half of them. Each holds its activations.
KEPT_GRAPHS = 2


class CapturedStep:
    """A training step as a CUDA graph.

    Attributes:
        reserved_bytes: memory that it holds for what a step computes on the way.

    Args:
        step: what is recorded; afterwards its model is as new only after `begin`.
        x, y: a batch of the shape that all will have.

    Raises:
        RuntimeError: something in the step cannot be recorded.
    """

    def __init__(self, step: TrainingStep, x: Tensor, y: Tensor) -> None:
        self.step, self.x, self.y = step, x.clone(), y.clone()
        step.model.train()
        before = torch.cuda.memory_allocated(x.device)
        torch.cuda.reset_peak_memory_stats(x.device)
        side = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                step.on_device(self.x, self.y)
        torch.cuda.current_stream(x.device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        # The outer block makes sure of the stream afterwards, where recording fails. Other threads may be at work on
        # other devices meanwhile.
        recording = torch.cuda.graph(self.graph, capture_error_mode="thread_local")
        with torch.cuda.stream(torch.cuda.current_stream(x.device)), recording:
            self.prediction = step.on_device(self.x, self.y)
        # Replays use this memory without asking for it, so each training that does is told.
        self.reserved_bytes = torch.cuda.max_memory_allocated(x.device) - before
        torch.cuda.reset_peak_memory_stats(x.device)

    def begin(self, weights: dict[str, Tensor]) -> None:
        """Makes model, optimizer and scale those of a training that has not begun."""
        with torch.no_grad():
            for name, value in self.step.model.state_dict().items():
                value.copy_(weights[name])
        self.step.optimizer.reset()
        if self.step.scale:
            self.step.scale.reset()

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Takes a step; the logits are valid until the next."""
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return self.prediction


_kept: OrderedDict[Hashable, CapturedStep] = OrderedDict()


def forget() -> None:
    """Gives back all graphs and their memory."""
    _kept.clear()
    torch.cuda.empty_cache()


def captured(
    shape: Hashable, model: nn.Module, make: Callable[[nn.Module], TrainingStep], x: Tensor, y: Tensor
) -> CapturedStep:
    """The graph of a shape, recorded where there is none, ready to train a copy of `model`, which stays as it is.

    Args:
        shape: all that a graph has built in.
        make: gives the step of a model.

    Raises:
        RuntimeError: the step cannot be recorded.
    """
    if shape not in _kept:
        while len(_kept) >= KEPT_GRAPHS:
            _kept.popitem(last=False)
        try:
            _kept[shape] = CapturedStep(make(copy.deepcopy(model)), x, y)
        except torch.OutOfMemoryError:
            # What other shapes hold may be what this one needs.
            forget()
            _kept[shape] = CapturedStep(make(copy.deepcopy(model)), x, y)
    _kept.move_to_end(shape)
    _kept[shape].begin(model.state_dict())
    return _kept[shape]
