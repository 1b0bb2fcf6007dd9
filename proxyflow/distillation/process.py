"""What learning images is to those who run it: iterations, the images so far, and a state that it can go on from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from proxyflow.distillation.methods import Method
from proxyflow.distillation.problem import Problem


@dataclass(frozen=True)
class Step:
    """What an iteration gave.

    Attributes:
        loss: `()`, what is to become small, before the iteration.
        examples: images that were pushed through networks, real and synthetic.
        flops: floating-point operations, where the iteration counted them itself; None is those of the rehearsal.
    """

    loss: Tensor
    examples: float
    flops: float | None = None


class Process(ABC):
    """One distillation at work.

    All that an iteration draws depends on the problem's seed and the iteration's number, so the state is images and
    optimizer alone.

    Attributes:
        iterations: how many there are in all.
        images: `(n, channels, size, size)`, normalised, as they are now.
        labels: `(n,)` of the images.
    """

    iterations: int
    images: Tensor
    labels: NDArray[np.int64]

    @abstractmethod
    def step(self, iteration: int) -> Step:
        """Does one iteration, counted from 0."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that later iterations depend on; the tensors are the process's own."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a state."""

    def learned(self) -> dict[str, Tensor]:
        """What was learnt besides the images, by name."""
        return {}

    def summary(self) -> dict[str, object]:
        """What there is to say of the result."""
        return {}

    def pilot_flops(self) -> float:
        """Floating-point operations of trainings among its iterations, which the rehearsal leaves out."""
        return 0.0

    def pilot(self) -> tuple[nn.Module, Tensor] | None:
        """The largest network that is trained among its iterations and a batch of it, both without content."""
        return None

    @property
    def alike(self) -> int:
        """How many of its first iterations cost the same."""
        return self.iterations


def begin(method: Method, problem: Problem) -> Process:
    """The learning of images before its first iteration.

    Raises:
        UserError: the problem is none that this method can have.
    """
    module, cls = method.process
    process: Process = getattr(import_module(f"proxyflow.distillation.{module}"), cls)(method, problem)
    return process
