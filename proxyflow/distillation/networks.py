"""Small networks without batch norm, applied with explicit weights, because distillation draws many initial weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from proxyflow.core.errors import UserError

Weights = dict[str, Tensor]


class ConvNet(nn.Sequential):
    """Blocks of convolution, norm of each channel, ReLU and average pooling (Zhao & Bilen 2023).

    Images `(n, channels, size, size)` to embeddings `(n, width * side * side)`, side being size / 2 ** depth.

    Raises:
        UserError: the images are too small for the depth.
    """

    def __init__(self, channels: int, width: int, depth: int, image_size: int) -> None:
        if image_size < 2**depth:
            raise UserError(
                f"image_size={image_size} is too small for depth={depth}: each block halves the images, so it needs "
                f"{2**depth} pixels; use a smaller depth or a larger image_size"
            )
        layers: list[nn.Module] = []
        for n_in in (channels, *[width] * (depth - 1)):
            layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)]
        super().__init__(*layers, nn.Flatten())


class LeNet(nn.Sequential):
    """LeNet (LeCun et al. 1998) as in Wang et al. 2018: ReLU, max pooling, padding for images below 32 pixels."""

    smallest = 12

    def __init__(self, channels: int, n_classes: int, image_size: int) -> None:
        padding = 2 if image_size < 32 else 0
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        super().__init__(
            *(nn.Conv2d(channels, 6, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, n_classes)),
        )


class AlexNet(nn.Sequential):
    """The CIFAR-10 variant of AlexNet (Krizhevsky et al. 2012) in Wang et al. 2018, with local response norm."""

    smallest = 8

    def __init__(self, channels: int, n_classes: int, image_size: int) -> None:
        side = math.ceil(math.ceil(image_size / 2) / 2)
        layers: list[nn.Module] = []
        for n_in in (channels, 64):
            layers += [nn.Conv2d(n_in, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
            layers += [nn.LocalResponseNorm(4, alpha=0.001 / 9.0, beta=0.75, k=1)]
        super().__init__(
            *layers,
            *(nn.Flatten(), nn.Linear(64 * side * side, 384), nn.ReLU(), nn.Linear(384, 192), nn.ReLU()),
            nn.Linear(192, n_classes),
        )


def check_no_batch_norm(network: nn.Module) -> None:
    """Checks that a network has no batch norm, whose statistics depend on all images of a step and change each step.

    Raises:
        UserError: a layer is a batch norm; the message names it.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise UserError(
                f"the network {type(network).__name__} has batch norm (layer {name}), through which gradient steps "
                "cannot be differentiated: use lenet or alexnet"
            )


def apply(network: nn.Module, weights: Weights, images: Tensor) -> Tensor:
    """The network's output with these weights."""
    out: Tensor = functional_call(network, weights, (images,))
    return out


def draw_default(network: nn.Module, generator: torch.Generator, device: torch.device) -> Weights:
    """Weights as torch initializes them: uniform, scaled by the number of inputs; norms at 1 and 0."""
    drawn = {}
    for prefix, layer in network.named_children():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for name, shape in (("weight", layer.weight.shape), ("bias", layer.weight.shape[:1])):
                values = torch.rand(shape, generator=generator) * (2 * bound) - bound
                drawn[f"{prefix}.{name}"] = values.to(device)
        elif isinstance(layer, nn.GroupNorm):
            drawn[f"{prefix}.weight"] = torch.ones(layer.num_channels, device=device)
            drawn[f"{prefix}.bias"] = torch.zeros(layer.num_channels, device=device)
    return drawn


def draw_xavier(network: nn.Module, generator: torch.Generator, device: torch.device) -> Weights:
    """Weights as Wang et al. 2018 initialize them: normal (Glorot & Bengio 2010), biases at 0."""
    drawn = {}
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            fan_out, fan_in = (math.prod((parameter.shape[axis], *parameter.shape[2:])) for axis in (0, 1))
            spread = math.sqrt(2 / (fan_in + fan_out))
            drawn[name] = (torch.randn(parameter.shape, generator=generator) * spread).to(device)
        else:
            drawn[name] = torch.zeros(parameter.shape, device=device)
    return drawn


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy with hard labels."""
    return F.cross_entropy(logits, labels)
