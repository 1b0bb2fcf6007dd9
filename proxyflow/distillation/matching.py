"""Distribution matching (Zhao & Bilen 2023): matches mean embeddings of images in random networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from proxyflow.distillation import augment, networks
from proxyflow.distillation.networks import Weights
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import Distiller, Step
from proxyflow.strategies.distillation_methods.distribution_matching import AUGMENTATIONS, DistributionMatching


def matching_loss(network: nn.Module, weights: Weights, real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Sum over classes of the squared distance between mean embeddings (equation 6), differentiable in `synthetic`.

    Args:
        network, weights: the random network.
        real, synthetic: augmented images of each class, `(b, channels, size, size)`.
    """
    with torch.no_grad():
        # One class at a time, to need the memory of one class only.
        target = torch.stack([networks.apply(network, weights, images).mean(dim=0) for images in real])
    embedded = networks.apply(network, weights, torch.cat(list(synthetic)))
    found = torch.stack([part.mean(dim=0) for part in torch.split(embedded, [len(images) for images in synthetic])])
    return (target - found).square().sum()


class Matching(Distiller):
    """Moves images by gradient descent with momentum on `matching_loss`."""

    def __init__(self, method: DistributionMatching, problem: Problem) -> None:
        self.method, self.problem = method, problem
        self.iterations = method.iterations
        self.labels = problem.labels
        self.sizes = [int((problem.labels == label).sum()) for label in range(problem.n_classes)]
        # On the meta device, because each iteration draws its own weights.
        self.network = networks.ConvNet(problem.channels, method.width, method.depth, problem.image_size).to("meta")
        self.images = problem.real(problem.start).clone()
        self.velocity = torch.zeros_like(self.images)

    def step(self, iteration: int) -> Step:
        method, problem = self.method, self.problem
        rng = problem.rng("match", iteration)
        weights = networks.draw_default(self.network, problem.torch_generator("match", iteration), problem.device)
        images = self.images.detach().requires_grad_()
        real, synthetic = [], []
        for members, own in zip(problem.members, torch.split(images, self.sizes), strict=True):
            positions = rng.permutation(members)[: method.real_per_class]
            transform = augment.draw_augmentation(AUGMENTATIONS[method.augmentation], rng)
            real.append(transform(problem.real(positions)))
            synthetic.append(transform(own))
        loss = matching_loss(self.network, weights, real, synthetic)
        (gradient,) = torch.autograd.grad(loss, images)
        with torch.no_grad():
            self.velocity.mul_(method.momentum).add_(gradient)
            self.images.sub_(method.learning_rate * self.velocity)
        return Step(loss.detach(), float(sum(map(len, real)) + len(images)))

    def state(self) -> dict[str, Tensor]:
        return {"images": self.images, "velocity": self.velocity}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.images, self.velocity = (tensors[name].to(self.problem.device) for name in ("images", "velocity"))
