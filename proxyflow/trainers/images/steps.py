"""A training step (forward, backward, optimizer, metrics) without synchronization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from proxyflow.core.errors import UserError
from proxyflow.trainers.images.arithmetic import Precision
from proxyflow.trainers.images.optimizers import Optimizer

# Defaults of torch's GradScaler.
FIRST_SCALE, GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0**16, 2.0, 0.5, 2000


# Label of padding examples, which torch's cross-entropy ignores.
IGNORED = -100


class Tally:
    """Sums of losses, correct predictions and examples, on the device.

    Attributes:
        sums: `(2, 3) float64`, loss, correct predictions and examples: of batches that count, and of batches with a
            finite loss whose step was skipped.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, 3, device=device, dtype=torch.float64)

    def reset(self) -> None:
        """Resets the sums."""
        self.sums.zero_()

    @torch.no_grad()
    def add(self, loss: Tensor, prediction: Tensor, labels: Tensor, skipped: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            loss: `()`, mean over the batch.
            prediction: `(b, classes)`, logits.
            labels: `(b,)`; the label `IGNORED` excludes an example.
            skipped: `()`, nonzero if the step was skipped because gradients overflowed.
        """
        # argmax of nan is class 0, which would count as correct.
        hits = ((prediction.argmax(1) == labels) & prediction.isfinite().all(1)).sum()
        examples = (labels != IGNORED).sum()
        batch = torch.stack((loss.double() * examples, hits.double(), examples.double()))
        if skipped is None:
            self.sums[0].add_(batch)
            return
        # Not multiplication, as 0 * inf is nan; not torch.where, which copies from the host and so cannot be captured.
        left_out = skipped != 0
        counted = batch.masked_fill(left_out, 0.0)
        aside = batch.masked_fill(~(left_out & loss.isfinite()), 0.0)
        self.sums += torch.stack((counted, aside))


def gradients_of(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """One gradient per parameter; zeros for those that a network does not use."""
    return list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))


class LossScale:
    """Dynamic loss scaling for fp16 (Micikevicius et al. 2018), entirely on the device.

    If gradients are not finite, the step is skipped and the scale halved.

    Attributes:
        overflow: `() float32`, 1 if the last gradients were not finite.
        skipped: `() int64`, number of skipped steps.
    """

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.full((), FIRST_SCALE, device=device)
        self.since_growth = torch.zeros((), dtype=torch.int32, device=device)
        self.overflow = torch.zeros((), device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)

    def reset(self) -> None:
        """Resets the state."""
        self.scale.fill_(FIRST_SCALE)
        for counter in (self.since_growth, self.overflow, self.skipped):
            counter.zero_()

    def gradients(self, loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Unscaled gradients of the scaled loss; sets `overflow`."""
        gradients = gradients_of(loss * self.scale, parameters)
        self.overflow.zero_()
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self.overflow, self.scale.reciprocal())
        return gradients

    def update(self) -> None:
        """Halves the scale after an overflow; doubles it after `GROWTH_INTERVAL` steps without one."""
        self.skipped += self.overflow.long()
        torch._amp_update_scale_(self.scale, self.since_growth, self.overflow, GROWTH, BACKOFF, GROWTH_INTERVAL)

    def state(self) -> dict[str, Tensor]:
        """The state by name."""
        return {"scale": self.scale, "since_growth": self.since_growth, "skipped": self.skipped}


def check_shapes(expected: Mapping[str, Tensor], loaded: Mapping[str, Tensor]) -> None:
    """Checks that a checkpoint's tensors have the names and shapes of this training's.

    Raises:
        UserError: a tensor is missing, or has another shape.
    """
    for name, tensor in expected.items():
        found = loaded.get(name)
        if found is None or found.shape != tensor.shape:
            state = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise UserError(
                f"the checkpoint does not fit this training: {name} is {state}, and must be of shape "
                f"{tuple(tensor.shape)}; train with resume_training=false"
            )


class TrainingStep:
    """Steps of one model.

    Attributes:
        tally: sums over training batches.
        valid: sums over validation batches.
        lr_and_momentum: `(2,) float64`, learning rate and momentum of the next step, on the device.
    """

    def __init__(self, model: nn.Module, loss: nn.CrossEntropyLoss, optimizer: Optimizer, precision: Precision) -> None:
        self.model, self.loss, self.optimizer, self.precision = model, loss, optimizer, precision
        self.device = optimizer.device
        self.scale = LossScale(self.device) if precision.name == "fp16" else None
        self.tally, self.valid = Tally(self.device), Tally(self.device)
        self.lr_and_momentum = torch.zeros(2, dtype=torch.float64, device=self.device)
        self._in_range = torch.zeros((), device=self.device)
        self._stride_mismatch: list[int] | None = None

    def counted(self) -> Tensor:
        """`(n,) float64`, all counters; every step and every validation batch changes one of them."""
        skipped = [self.scale.skipped.double().reshape(1)] if self.scale else []
        return torch.cat([self.tally.sums.flatten(), self.valid.sums.flatten(), *skipped])

    def state(self) -> dict[str, Tensor]:
        """The state of model, optimizer and loss scale by name, as the tensors themselves."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state(),
            "scale": self.scale.state() if self.scale else {},
        }
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores a state.

        Raises:
            UserError: it belongs to another network or optimizer.
        """
        own = self.state()
        check_shapes(own, tensors)
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        # The training may resume with the other implementation of a step, such as on a CPU after a GPU.
        self.optimizer.settle()

    def predict(self, x: Tensor) -> Tensor:
        """Logits of a batch in fp32, in which losses are computed."""
        with torch.autocast(self.device.type, dtype=self.precision.dtype, enabled=self.precision.autocast):
            prediction: Tensor = self.model(x)
        return prediction.float() if self.precision.autocast else prediction

    def by_numbers(self, x: Tensor, y: Tensor, rate: float, momentum: float) -> Tensor:
        """Takes a step with rate and momentum as floats; returns the logits `(b, classes)`."""
        prediction, loss = self._forward(x, y)
        self.tally.add(loss.detach(), prediction, y)
        gradients = gradients_of(loss, self.optimizer.parameters)
        self.optimizer.step(self._match_strides(gradients), rate, momentum)
        return prediction

    def on_device(self, x: Tensor, y: Tensor) -> Tensor:
        """Takes a step with `lr_and_momentum`, which a CUDA graph can contain; returns the logits `(b, classes)`."""
        prediction, loss = self._forward(x, y)
        parameters, scale = self.optimizer.parameters, self.scale
        gradients = scale.gradients(loss, parameters) if scale else gradients_of(loss, parameters)
        overflow = scale.overflow if scale else self._in_range
        self.tally.add(loss.detach(), prediction, y, scale.overflow if scale else None)
        self.optimizer.step_on_device(
            self._match_strides(gradients), self.lr_and_momentum[0], self.lr_and_momentum[1], overflow
        )
        if scale:
            scale.update()
        return prediction

    @torch.no_grad()
    def validate(self, x: Tensor, y: Tensor) -> None:
        """Evaluates a validation batch; the model must be in eval mode."""
        prediction = self.predict(x)
        self.valid.add(self.loss(prediction, y), prediction, y)

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.predict(x)
        return prediction.detach(), self.loss(prediction, y)

    def _match_strides(self, gradients: list[Tensor]) -> list[Tensor]:
        """Copies gradients whose strides differ from their parameters', because fused kernels assume equal strides.

        Convolutions may return gradients in another memory format; which ones is determined at the first step.
        """
        parameters = self.optimizer.parameters
        if self._stride_mismatch is None:
            pairs = enumerate(zip(parameters, gradients, strict=True))
            self._stride_mismatch = [number for number, (p, g) in pairs if p.stride() != g.stride()]
        for number in self._stride_mismatch:
            gradients[number] = torch.empty_like(parameters[number]).copy_(gradients[number])
        return gradients
