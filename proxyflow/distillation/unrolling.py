"""Dataset distillation (Wang et al. 2018): learns images and rates by differentiating through gradient steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proxyflow.core.errors import InvalidValue
from proxyflow.distillation import networks
from proxyflow.distillation.networks import Weights, apply, cross_entropy
from proxyflow.distillation.problem import Positions, Problem
from proxyflow.distillation.process import Distiller, Step
from proxyflow.strategies.distillation_methods.gradient_steps import GradientSteps

BETAS = (0.5, 0.999)
NETWORKS: dict[str, type[networks.LeNet] | type[networks.AlexNet]] = {
    "lenet": networks.LeNet,
    "alexnet": networks.AlexNet,
}
LENET_UP_TO = 32  # pixels
# Published initial learning rates.
FIRST_RATES = {"lenet": 0.02, "alexnet": 0.001}


def unrolled_weights(
    network: nn.Module, weights: Weights, batches: Sequence[tuple[Tensor, Tensor]], rates: Tensor
) -> Weights:
    """Weights after one step of gradient descent per rate, differentiable in images and rates (algorithm 1).

    Args:
        network, weights: the network and its initial weights.
        batches: images and labels of each step; cycled if there are more rates than batches.
        rates: `(steps,)` learning rates.
    """
    names = list(weights)
    current = [weights[name].detach().requires_grad_() for name in names]
    for number, rate in enumerate(rates.unbind()):
        images, labels = batches[number % len(batches)]
        loss = cross_entropy(apply(network, dict(zip(names, current, strict=True)), images), labels)
        gradients = torch.autograd.grad(loss, current, create_graph=True)
        current = [weight - rate * gradient for weight, gradient in zip(current, gradients, strict=True)]
    return dict(zip(names, current, strict=True))


def distillation_loss(
    network: nn.Module,
    weights: Weights,
    batches: Sequence[tuple[Tensor, Tensor]],
    rates: Tensor,
    real: tuple[Tensor, Tensor],
) -> Tensor:
    """Cross-entropy on real images after the unrolled steps."""
    images, labels = real
    return cross_entropy(apply(network, unrolled_weights(network, weights, batches, rates), images), labels)


def split_by_step(labels: np.ndarray, steps: int) -> list[Positions]:
    """Positions of the images of each step; each step has images of all classes."""
    rank = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    steps = min(steps, int(rank.max()) + 1)
    return [np.flatnonzero(rank % steps == step) for step in range(steps)]


class Unrolling(Distiller):
    """Learns images and raw rates by Adam on `distillation_loss`; a rate is the softplus of its raw value."""

    def __init__(self, method: GradientSteps, problem: Problem) -> None:
        self.method, self.problem, device = method, problem, problem.device
        self.iterations = method.iterations
        self.labels = problem.labels
        self.network = self._network().to("meta")  # weights are drawn separately
        networks.check_no_batch_norm(self.network)
        size = (len(problem.labels), problem.channels, problem.image_size, problem.image_size)
        noise = torch.randn(size, generator=problem.torch_generator("noise"))
        self.images = noise.to(device).requires_grad_()
        parts = split_by_step(problem.labels, method.steps)
        self.parts = [torch.from_numpy(part).to(device) for part in parts]
        self.step_labels = [torch.from_numpy(problem.labels[part]).to(device) for part in parts]
        first = torch.full((len(parts) * method.epochs,), method.first_rate or FIRST_RATES[self._network_name])
        self.raw = first.expm1().log().to(device).requires_grad_()
        self.adam = torch.optim.Adam([self.images, self.raw], lr=method.learning_rate, betas=BETAS)

    @property
    def _network_name(self) -> str:
        name, problem = self.method.network, self.problem
        small = problem.channels == 1 and problem.image_size <= LENET_UP_TO
        return ("lenet" if small else "alexnet") if name == "auto" else name

    def _network(self) -> nn.Module:
        problem, cls = self.problem, NETWORKS[self._network_name]
        if problem.image_size < cls.smallest:
            raise InvalidValue(
                "image_size", problem.image_size, f"{cls.__name__} takes images of at least {cls.smallest} pixels"
            )
        return cls(problem.channels, problem.n_classes, problem.image_size)

    @property
    def rates(self) -> Tensor:
        """`(steps,)` learning rates."""
        return F.softplus(self.raw)

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Images and labels of each step."""
        return [(self.images[part], labels) for part, labels in zip(self.parts, self.step_labels, strict=True)]

    def weights(self, *names: str | int) -> Weights:
        """Draws initial weights."""
        draw = ("fixed",) if self.method.init == "fixed" else names
        generator = self.problem.torch_generator("init", *draw)
        return networks.draw_xavier(self.network, generator, self.problem.device)

    def step(self, iteration: int) -> Step:
        problem = self.problem
        n = len(problem.dataset.train)
        positions = problem.rng("batch", iteration).permutation(n)[: self.method.batch]
        real = problem.real(positions), problem.real_labels(positions)
        loss = distillation_loss(self.network, self.weights(iteration), self.batches(), self.rates, real)
        gradients = torch.autograd.grad(loss, [self.images, self.raw])
        for parameter, gradient in zip((self.images, self.raw), gradients, strict=True):
            parameter.grad = gradient
        self.adam.param_groups[0]["lr"] = self.method.learning_rate * 0.5 ** (iteration // self.method.halve_every)
        if problem.device.type != "meta":
            self.adam.step()
        return Step(loss.detach(), float(len(positions) + len(self.images) * self.method.epochs))

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Tensor, draws: int) -> float:
        """Mean accuracy on images after the unrolled steps, over draws of initial weights."""
        total = 0.0
        for draw in range(draws):
            with torch.enable_grad():
                weights = unrolled_weights(self.network, self.weights("test", draw), self.batches(), self.rates)
            weights = {name: value.detach() for name, value in weights.items()}
            total += float((apply(self.network, weights, images).argmax(dim=1) == labels).float().mean())
        return total / draws

    def learned(self) -> dict[str, Tensor]:
        return {"rates": self.rates.detach()}

    def summary(self) -> dict[str, object]:
        return {"learning_rates": self.rates.tolist(), "images_of_steps": [part.tolist() for part in self.parts]}

    def state(self) -> dict[str, Tensor]:
        tensors = {"images": self.images, "raw": self.raw}
        for name, parameter in list(tensors.items()):
            tensors |= {f"{name}.{key}": value for key, value in self.adam.state[parameter].items()}
        return {name: value.detach() for name, value in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in (("images", self.images), ("raw", self.raw)):
                parameter.copy_(tensors[name])
                averages = ("step", "exp_avg", "exp_avg_sq")
                self.adam.state[parameter] = {key: tensors[f"{name}.{key}"].clone() for key in averages}
                for key in averages[1:]:
                    self.adam.state[parameter][key] = self.adam.state[parameter][key].to(self.problem.device)
