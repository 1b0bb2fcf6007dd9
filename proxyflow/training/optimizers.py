"""Adam, SGD and RMSProp as fastai defines them, each a few fused operations on all parameters at once.

Weight decay is decoupled (Loshchilov & Hutter 2019) and leaves out norms and biases. A step reads no value from the
device and loops over no parameters in Python, because on a GPU both would cost more than the arithmetic.

There are two ways to take the same step. `step` has the schedule's values as numbers, which is cheapest where every
operation is called from Python. `step_on_device` has them as tensors, so that a CUDA graph can hold the step and the
one-cycle needs no new capture; it also leaves itself out where the gradients overflowed, without asking the host.
torch's fused kernels take the rate as a tensor, but momentum only as a number: they get `CONSTANT_MOMENTUM`, and what
differs from it goes into the running averages beforehand and into the rate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Tensors = Sequence[Tensor]

SQUARE_MOMENTUM = 0.99
ADAM_EPS, RMSPROP_EPS = 1e-6, 1e-8  # fastai's RMSProp takes an eps and uses this one
CONSTANT_MOMENTUM = 0.9

# Adam's correction for averages that began at 0 has no effect after so many steps.
LONG_AFTER = 1e9


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters that decay, and those that do not: norms and biases, which are the one-dimensional ones."""
    parameters: list[Tensor] = list(model.parameters())
    return [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]


class Optimizer(ABC):
    """Changes a model's parameters by their gradients.

    Args:
        weight_decay: share of the learning rate by which weights shrink at each step.

    Attributes:
        parameters: those that decay first.
    """

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        self.decayed, undecayed = split_parameters(model)
        self.parameters = self.decayed + undecayed
        self.weight_decay = weight_decay
        self.device = self.parameters[0].device

    @abstractmethod
    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        """One step.

        Args:
            gradients: one per parameter, in the order and the memory layout of `parameters`.
            rate: learning rate.
            momentum: of SGD, the first beta of Adam; RMSProp has none.
        """

    @abstractmethod
    def step_on_device(self, gradients: Tensors, rate: Tensor, momentum: Tensor, overflow: Tensor) -> None:
        """The same step with its numbers on the device.

        Args:
            rate, momentum: `() float64`.
            overflow: `() float32`, 1 where the gradients are not finite and nothing may change, else 0.
        """

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What a step leaves for the next, by name; the tensors themselves, so that they can be written to."""

    def reset(self) -> None:
        """As before the first step."""
        torch._foreach_zero_(list(self.state().values()))

    def settle(self) -> None:  # noqa: B027 (most keep the same state either way)
        """Makes a state that `step_on_device` left one that `step` goes on from; one of `step` stays as it is."""

    def zeros(self) -> list[Tensor]:
        """A running average of 0 for each parameter."""
        # Written now: memory that is only promised to be 0 is brought in by the first step, on its time.
        return [torch.empty_like(p, memory_format=torch.preserve_format).zero_() for p in self.parameters]

    def decay(self, factor: float | Tensor) -> None:
        """Shrinks the parameters that decay."""
        if self.weight_decay:
            torch._foreach_mul_(self.decayed, factor)


def _named(name: str, tensors: list[Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{number}": tensor for number, tensor in enumerate(tensors)}


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015) with betas (momentum, .99) and eps 1e-6."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.averages, self.squares = self.zeros(), self.zeros()
        # One tensor for all: the kernels read it for each parameter and change it for none.
        self.count = torch.zeros((), device=self.device)
        # `step` keeps Adam's averages, `step_on_device` those times (1 - CONSTANT) / (1 - last).
        self.last_momentum = torch.full((), CONSTANT_MOMENTUM, dtype=torch.float64, device=self.device)

    def state(self) -> dict[str, Tensor]:
        return {
            **_named("averages", self.averages),
            **_named("squares", self.squares),
            "count": self.count,
            "last_momentum": self.last_momentum,
        }

    def reset(self) -> None:
        super().reset()
        self.last_momentum.fill_(CONSTANT_MOMENTUM)

    @torch.no_grad()
    def settle(self) -> None:
        torch._foreach_mul_(self.averages, ((1 - self.last_momentum) / (1 - CONSTANT_MOMENTUM)).float())
        self.last_momentum.fill_(CONSTANT_MOMENTUM)

    @torch.no_grad()
    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        self.count += 1
        border = len(self.decayed)
        for group, decay in ((slice(0, border), self.weight_decay), (slice(border, None), 0.0)):
            self._fused(group, gradients, rate, momentum, decay, None)

    @torch.no_grad()
    def step_on_device(self, gradients: Tensors, rate: Tensor, momentum: Tensor, overflow: Tensor) -> None:
        applied = 1 - overflow.double()
        self.count += applied.float()
        done, constant = self.count.double(), CONSTANT_MOMENTUM
        # No torch.where with numbers here: it copies them from the host, which a graph cannot hold.
        # An average m a + (1 - m) g with m from the schedule is (1 - m) times one that adds up g alone, and the
        # kernel's is (1 - constant) times that sum: so the sum is scaled here, and the rate carries the rest.
        scale = momentum * (1 - self.last_momentum) / (1 - momentum) / constant
        torch._foreach_mul_(self.averages, (1 + applied * (scale - 1)).float())
        corrected = (1 - torch.exp(done * math.log(constant))) / (1 - momentum**done)
        fused_rate = rate * (1 - momentum) / (1 - constant) * corrected
        self.decay((1 - rate * self.weight_decay * applied).float())
        self._fused(slice(None), gradients, fused_rate.float(), constant, 0.0, overflow)
        self.last_momentum.lerp_(momentum, applied)

    def _fused(
        self,
        group: slice,
        gradients: Tensors,
        rate: float | Tensor,
        momentum: float,
        decay: float,
        overflow: Tensor | None,
    ) -> None:
        parameters = self.parameters[group]
        torch._fused_adamw_(
            parameters,
            list(gradients[group]),
            self.averages[group],
            self.squares[group],
            [],
            [self.count] * len(parameters),
            lr=rate,
            beta1=momentum,
            beta2=SQUARE_MOMENTUM,
            weight_decay=decay,
            eps=ADAM_EPS,
            amsgrad=False,
            maximize=False,
            found_inf=overflow,
        )


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, not dampened."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.averages = self.zeros()

    def state(self) -> dict[str, Tensor]:
        return _named("averages", self.averages)

    @torch.no_grad()
    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        self.decay(1 - rate * self.weight_decay)
        self._fused(gradients, rate, momentum, None)

    @torch.no_grad()
    def step_on_device(self, gradients: Tensors, rate: Tensor, momentum: Tensor, overflow: Tensor) -> None:
        applied = 1 - overflow.double()
        self.decay((1 - rate * self.weight_decay * applied).float())
        torch._foreach_mul_(self.averages, (1 + applied * (momentum / CONSTANT_MOMENTUM - 1)).float())
        self._fused(gradients, rate.float(), CONSTANT_MOMENTUM, overflow)

    def _fused(self, gradients: Tensors, rate: float | Tensor, momentum: float, overflow: Tensor | None) -> None:
        torch._fused_sgd_(
            self.parameters,
            list(gradients),
            self.averages,
            weight_decay=0.0,
            momentum=momentum,
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            found_inf=overflow,
        )


class RMSProp(Optimizer):
    """RMSProp (Hinton 2012) without momentum: an Adam whose first beta is 0, long after its start."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.squares = self.zeros()
        self.unused = self.zeros()
        self.count = torch.full((), LONG_AFTER, device=self.device)

    def state(self) -> dict[str, Tensor]:
        return _named("squares", self.squares)

    def reset(self) -> None:
        super().reset()
        # Nothing times a number that is none is none: a training that diverged must not leave it to the next.
        torch._foreach_zero_(self.unused)

    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        self._fused(gradients, rate, None)

    def step_on_device(self, gradients: Tensors, rate: Tensor, momentum: Tensor, overflow: Tensor) -> None:
        self._fused(gradients, rate.float(), overflow)

    @torch.no_grad()
    def _fused(self, gradients: Tensors, rate: float | Tensor, overflow: Tensor | None) -> None:
        border = len(self.decayed)
        for group, decay in ((slice(0, border), self.weight_decay), (slice(border, None), 0.0)):
            parameters = self.parameters[group]
            torch._fused_adamw_(
                parameters,
                list(gradients[group]),
                self.unused[group],
                self.squares[group],
                [],
                [self.count] * len(parameters),
                lr=rate,
                beta1=0.0,
                beta2=SQUARE_MOMENTUM,
                weight_decay=decay,
                eps=RMSPROP_EPS,
                amsgrad=False,
                maximize=False,
                found_inf=overflow,
            )


OPTIMIZERS: dict[str, Callable[[nn.Module, float], Optimizer]] = {"adam": Adam, "sgd": SGD, "rmsprop": RMSProp}
