"""The interface of methods to the code that runs them: iterations, current images, and a state to resume from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from proxyflow.distillation.problem import Problem
from proxyflow.strategies.distillation_methods import Method


@dataclass(frozen=True)
class Step:
    """The result of an iteration.

    Attributes:
        loss: `()`, the loss before the iteration's update.
        examples: number of real and synthetic images passed through networks.
        flops: floating-point operations; None for those of the estimate.
    """

    loss: Tensor
    examples: float
    flops: float | None = None


class Distiller(ABC):
    """Learns synthetic images iteratively.

    Random numbers of an iteration depend on the problem's seed and the iteration's number only, so the state consists
    of images and optimizer state.

    Attributes:
        iterations: total number of iterations.
        images: `(n, channels, size, size)`, the current normalised images.
        labels: `(n,)` labels of the images.
    """

    iterations: int
    images: Tensor
    labels: NDArray[np.int64]

    @abstractmethod
    def step(self, iteration: int) -> Step:
        """Runs one iteration, counted from 0."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The state that later iterations depend on, as the tensors themselves."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores a state."""

    def learned(self) -> dict[str, Tensor]:
        """Learned tensors besides the images, by name."""
        return {}

    def summary(self) -> dict[str, object]:
        """Details of the result, as JSON-compatible values."""
        return {}

    def pilot_flops(self) -> float:
        """Floating-point operations of pilot trainings, which the estimate of an iteration excludes."""
        return 0.0

    def pilot(self) -> tuple[nn.Module, Tensor] | None:
        """The largest pilot network and a batch of it, both on the meta device; None without pilots."""
        return None

    @property
    def uniform_iterations(self) -> int:
        """Number of iterations, from the first one, that cost the same."""
        return self.iterations


def make_distiller(method: Method, problem: Problem) -> Distiller:
    """Creates the distiller of a method.

    Raises:
        UserError: the method does not support the problem.
    """
    module, cls = method.process
    process: Distiller = getattr(import_module(f"proxyflow.distillation.{module}"), cls)(method, problem)
    return process
