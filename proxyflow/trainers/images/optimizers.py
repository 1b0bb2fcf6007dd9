"""Adam, SGD and RMSProp as in fastai, each implemented with a few fused operations on all parameters.

Weight decay is decoupled (Loshchilov & Hutter 2019) and excludes norms and biases. A step neither synchronizes with the
device nor loops over parameters in Python, which on a GPU would cost more than the arithmetic.

Each optimizer has two implementations of the same step. `step` takes rate and momentum as floats, which is fastest in
eager mode. `step_on_device` takes them as tensors, so that a CUDA graph can contain it; it skips the update on the
device if gradients overflowed. torch's fused kernels accept the rate as a tensor, but momentum only as a float: they
get `CONSTANT_MOMENTUM`, and running averages and rate are scaled to compensate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Tensors = Sequence[Tensor]
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)

SQUARE_MOMENTUM = 0.99
ADAM_EPS, RMSPROP_EPS = 1e-6, 1e-8  # fastai's RMSProp takes an eps and uses this one
CONSTANT_MOMENTUM = 0.9

# Step count after which Adam's bias correction has no effect.
LONG_AFTER = 1e9


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Splits parameters into those with and without weight decay: norms, biases, other vectors and scalars.

    A network may name others without decay, as timm's transformers do with places and tokens (`no_weight_decay`).
    Parameters that require no gradient are in neither list.
    """
    named = getattr(model, "no_weight_decay", None)
    exempt = set(named()) if callable(named) else set()
    without = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(False)}
    without |= {id(p) for name, p in model.named_parameters() if name in exempt}
    parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decays = [p.ndim > 1 and id(p) not in without for p in parameters]
    decayed = [p for p, kept in zip(parameters, decays, strict=True) if kept]
    return decayed, [p for p, kept in zip(parameters, decays, strict=True) if not kept]


class Optimizer(ABC):
    """Updates a model's parameters.

    Args:
        model: the model.
        weight_decay: weights shrink by this share of the learning rate at each step.

    Attributes:
        parameters: all parameters that require a gradient, those with weight decay first.
    """

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        self.decayed, undecayed = split_parameters(model)
        self.parameters = self.decayed + undecayed
        self.weight_decay = weight_decay
        self.device = self.parameters[0].device

    @abstractmethod
    def step(self, gradients: Tensors, rate: float, momentum: float) -> None:
        """Takes a step.

        Args:
            gradients: gradients in the order and memory format of `parameters`.
            rate: learning rate.
            momentum: momentum of SGD, first beta of Adam; unused by RMSProp.
        """

    @abstractmethod
    def step_on_device(self, gradients: Tensors, rate: Tensor, momentum: Tensor, overflow: Tensor) -> None:
        """Takes the same step with rate and momentum on the device.

        Args:
            rate, momentum: `() float64`.
            overflow: `() float32`, 1 if the gradients are not finite and the step must be skipped, else 0.
        """

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The state by name, as the tensors themselves, so that they can be restored in place."""

    def reset(self) -> None:
        """Resets the state."""
        torch._foreach_zero_(list(self.state().values()))

    def settle(self) -> None:  # noqa: B027 (most optimizers have one form of state)
        """Converts the state of `step_on_device` to that of `step`."""

    def zeros(self) -> list[Tensor]:
        """Zeros like each parameter."""
        # Not torch.zeros_like: the first step would page in its lazily zeroed memory, within the measured time.
        return [torch.empty_like(p, memory_format=torch.preserve_format).zero_() for p in self.parameters]

    def decay(self, factor: float | Tensor) -> None:
        """Multiplies the parameters with weight decay by `factor`."""
        if self.weight_decay:
            torch._foreach_mul_(self.decayed, factor)


def _named(name: str, tensors: list[Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{number}": tensor for number, tensor in enumerate(tensors)}


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015) with betas (momentum, .99) and eps 1e-6."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.averages, self.squares = self.zeros(), self.zeros()
        # Shared by all parameters; the kernels only read it.
        self.count = torch.zeros((), device=self.device)
        # `step` stores Adam's averages, `step_on_device` multiplies them by (1 - CONSTANT) / (1 - last).
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
        # No torch.where with floats: it copies them from the host, which a graph cannot contain.
        # Adam's average is m a + (1 - m) g, with m from the schedule; the kernel computes it with a constant m. Both
        # are multiples of the same sum, so the stored average is scaled here, and the rate by the remaining factor.
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
    """SGD with momentum, without dampening."""

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
    """RMSProp (Hinton 2012) without momentum, computed as Adam with a first beta of 0 and no bias correction."""

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        super().__init__(model, weight_decay)
        self.squares = self.zeros()
        self.unused = self.zeros()
        self.count = torch.full((), LONG_AFTER, device=self.device)

    def state(self) -> dict[str, Tensor]:
        return _named("squares", self.squares)

    def reset(self) -> None:
        super().reset()
        # 0 * nan is nan: a diverged training must not affect the next one.
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
