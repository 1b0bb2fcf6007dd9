"""One training step: forward, backward, optimizer and counting, with nothing that waits for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from proxyflow.errors import UserError
from proxyflow.training.devices import Precision
from proxyflow.training.optimizers import Optimizer

# torch's GradScaler begins so and grows so.
FIRST_SCALE, GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0**16, 2.0, 0.5, 2000


class Tally:
    """Sums of losses and hits, kept on the device so that a step need not wait for them."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, device=device, dtype=torch.float64)

    @torch.no_grad()
    def add(self, loss: Tensor, prediction: Tensor, labels: Tensor) -> None:
        """Counts a batch by its mean loss, its logits `(b, classes)` and its labels `(b,)`."""
        # A prediction that is not a number is wrong, not class 0 as argmax has it.
        hits = ((prediction.argmax(1) == labels) & prediction.isfinite().all(1)).sum()
        self.sums += torch.stack((loss.double() * len(labels), hits.double()))


class LossScale:
    """Keeps fp16 gradients in range (Micikevicius et al. 2018) with values that never leave the device.

    A step whose gradients are not finite is left out, and the scale halved.

    Attributes:
        overflow: `() float32`, 1 where the last gradients were not finite.
        skipped: `() int64`, steps left out.
    """

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.full((), FIRST_SCALE, device=device)
        self.since_growth = torch.zeros((), dtype=torch.int32, device=device)
        self.overflow = torch.zeros((), device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)

    def reset(self) -> None:
        """As before the first step."""
        self.scale.fill_(FIRST_SCALE)
        for counter in (self.since_growth, self.overflow, self.skipped):
            counter.zero_()

    def gradients(self, loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Gradients by way of the scaled loss; says in `overflow` whether they are finite."""
        gradients = list(torch.autograd.grad(loss * self.scale, parameters))
        self.overflow.zero_()
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self.overflow, self.scale.reciprocal())
        return gradients

    def update(self) -> None:
        """Halves the scale after an overflow, doubles it after long without one."""
        self.skipped += self.overflow.long()
        torch._amp_update_scale_(self.scale, self.since_growth, self.overflow, GROWTH, BACKOFF, GROWTH_INTERVAL)

    def state(self) -> dict[str, Tensor]:
        """What a step leaves for the next, by name."""
        return {"scale": self.scale, "since_growth": self.since_growth, "skipped": self.skipped}


def check_fit(own: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Refuses to go on from tensors that are not those of this training.

    Raises:
        UserError: one is missing, or of another shape.
    """
    for name, tensor in own.items():
        found = kept.get(name)
        if found is None or found.shape != tensor.shape:
            there = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise UserError(
                f"the checkpoint to go on from does not fit this training: {name} is {there}, and must be of shape "
                f"{tuple(tensor.shape)}; train with resume_training=false"
            )


class TrainingStep:
    """What a step does once its batch is there.

    Attributes:
        knobs: `(2,) float64`, rate and momentum of the next step on the device.
    """

    def __init__(self, model: nn.Module, loss: nn.CrossEntropyLoss, optimizer: Optimizer, precision: Precision) -> None:
        self.model, self.loss, self.optimizer, self.precision = model, loss, optimizer, precision
        self.device = optimizer.device
        self.scale = LossScale(self.device) if precision.name == "fp16" else None
        self.tally = Tally(self.device)
        self.knobs = torch.zeros(2, dtype=torch.float64, device=self.device)
        self._in_range = torch.zeros((), device=self.device)
        self._strange: list[int] | None = None

    def state(self) -> dict[str, Tensor]:
        """All that a step leaves for the next, by name; the tensors themselves."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state(),
            "scale": self.scale.state() if self.scale else {},
        }
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on where the step stood whose `state` these are.

        Raises:
            UserError: they are of another network or optimizer.
        """
        own = self.state()
        check_fit(own, tensors)
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        # A training may go on where its steps are taken the other way: on a CPU after a GPU, say.
        self.optimizer.settle()

    def predict(self, x: Tensor) -> Tensor:
        """Logits of a batch, in the precision that losses are computed in."""
        with torch.autocast(self.device.type, dtype=self.precision.dtype, enabled=self.precision.autocast):
            prediction: Tensor = self.model(x)
        return prediction.float() if self.precision.autocast else prediction

    def by_numbers(self, x: Tensor, y: Tensor, rate: float, momentum: float) -> Tensor:
        """A step with the schedule's values as numbers; gives the logits `(b, classes)`."""
        prediction, loss = self._forward(x, y)
        gradients = list(torch.autograd.grad(loss, self.optimizer.parameters))
        self.optimizer.step(self._laid_out(gradients), rate, momentum)
        return prediction

    def on_device(self, x: Tensor, y: Tensor) -> Tensor:
        """A step by `knobs`, which a CUDA graph can hold; gives the logits `(b, classes)`."""
        prediction, loss = self._forward(x, y)
        parameters, scale = self.optimizer.parameters, self.scale
        gradients = scale.gradients(loss, parameters) if scale else list(torch.autograd.grad(loss, parameters))
        overflow = scale.overflow if scale else self._in_range
        self.optimizer.step_on_device(self._laid_out(gradients), self.knobs[0], self.knobs[1], overflow)
        if scale:
            scale.update()
        return prediction

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.predict(x)
        loss = self.loss(prediction, y)
        self.tally.add(loss.detach(), prediction.detach(), y)
        return prediction.detach(), loss

    def _laid_out(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients with their parameters' strides, which fused kernels take for granted.

        Convolutions may give them in another memory format than the weights have. Which do is seen once.
        """
        parameters = self.optimizer.parameters
        if self._strange is None:
            pairs = enumerate(zip(parameters, gradients, strict=True))
            self._strange = [number for number, (p, g) in pairs if p.stride() != g.stride()]
        for number in self._strange:
            gradients[number] = torch.empty_like(parameters[number]).copy_(gradients[number])
        return gradients
