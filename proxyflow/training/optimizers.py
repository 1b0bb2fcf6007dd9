"""Adam, SGD and RMSProp as fastai defines them, each a few fused operations on all parameters at once.

Weight decay is decoupled (Loshchilov & Hutter 2019) and leaves out norms and biases. A step reads no value from the
device and loops over no parameters in Python, because on a GPU both would cost more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

Tensors = tuple[Tensor, ...] | list[Tensor]

SQUARE_MOMENTUM = 0.99
ADAM_EPS, RMSPROP_EPS = 1e-6, 1e-8  # fastai's RMSProp takes an eps and uses this one


class Optimizer(Protocol):
    """Changes parameters by their gradients."""

    parameters: list[Tensor]

    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        """One step.

        Args:
            gradients: one per parameter, in the order of `parameters`.
            rate: learning rate.
            momentum: of SGD, the first beta of Adam; RMSProp has none.
        """
        ...


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters that decay, and those that do not: norms and biases, which are the one-dimensional ones."""
    parameters: list[Tensor] = list(model.parameters())
    return [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]


class _Grouped:
    """Parameters of a model, those that decay first."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        self.decayed, undecayed = split_parameters(model)
        self.parameters = self.decayed + undecayed
        self.weight_decay = weight_decay

    def zeros(self) -> list[Tensor]:
        return [torch.zeros_like(p, memory_format=torch.preserve_format) for p in self.parameters]

    def decay(self, rate: float) -> None:
        if self.weight_decay:
            torch._foreach_mul_(self.decayed, 1 - rate * self.weight_decay)


class Adam(_Grouped):
    """Adam (Kingma & Ba 2015) with betas (momentum, .99) and eps 1e-6."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.averages, self.squares = self.zeros(), self.zeros()
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        torch._foreach_add_(self.steps, 1)
        border = len(self.decayed)
        for group, decay in ((slice(0, border), self.weight_decay), (slice(border, None), 0.0)):
            torch._fused_adamw_(
                self.parameters[group],
                list(gradients[group]),
                self.averages[group],
                self.squares[group],
                [],
                self.steps[group],
                lr=rate,
                beta1=momentum,
                beta2=SQUARE_MOMENTUM,
                weight_decay=decay,
                eps=ADAM_EPS,
                amsgrad=False,
                maximize=False,
            )


class SGD(_Grouped):
    """Stochastic gradient descent with momentum, not dampened."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.averages = self.zeros()

    @torch.no_grad()
    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        self.decay(rate)
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
        )


class RMSProp(_Grouped):
    """RMSProp (Hinton 2012) without momentum."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.squares = self.zeros()

    @torch.no_grad()
    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        self.decay(rate)
        torch._foreach_mul_(self.squares, SQUARE_MOMENTUM)
        torch._foreach_addcmul_(self.squares, gradients, gradients, value=1 - SQUARE_MOMENTUM)
        roots = torch._foreach_sqrt(self.squares)
        torch._foreach_add_(roots, RMSPROP_EPS)
        torch._foreach_addcdiv_(self.parameters, gradients, roots, value=-rate)


OPTIMIZERS: dict[str, Callable[[nn.Module, float], Optimizer]] = {"adam": Adam, "sgd": SGD, "rmsprop": RMSProp}
