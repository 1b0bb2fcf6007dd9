"""XResNet (He et al. 2019, "Bag of tricks for image classification") as fastai builds it, without importing fastai.

fastai's own module brings torchvision and half of torch's compiler with it, four of the nine seconds that a process
needs before it can train. Structure, names of weights and initialisation are fastai's: weights of one load into the
other, and a test holds their outputs to each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proxyflow.training.architectures import ARCHITECTURES


class ConvLayer(nn.Sequential):
    """Convolution, batch norm and, where `act`, a ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, act: bool = True) -> None:
        convolution = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(n_out), *([nn.ReLU()] if act else []))


class ResBlock(nn.Module):
    """A residual block; where it strides, its shortcut averages before it projects (ResNet-D)."""

    def __init__(self, expansion: int, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = width * expansion
        if expansion == 1:
            layers = [ConvLayer(n_in, width, 3, stride), ConvLayer(width, n_out, 3, act=False)]
        else:
            layers = [
                ConvLayer(n_in, width, 1),
                ConvLayer(width, width, 3, stride),
                ConvLayer(width, n_out, 1, act=False),
            ]
        self.convpath = nn.Sequential(*layers)
        shortcut: list[nn.Module] = [nn.AvgPool2d(stride, ceil_mode=True)] if stride != 1 else []
        if n_in != n_out:
            shortcut.append(ConvLayer(n_in, n_out, 1, act=False))
        self.idpath = nn.Sequential(*shortcut)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n_in, h, w)` to `(n, n_out, h / stride, w / stride)`."""
        out: Tensor = self.act(self.convpath(x) + self.idpath(x))
        return out


class XResNet(nn.Sequential):
    """Images `(n, 3, size, size)` to logits `(n, n_classes)`.

    Args:
        arch: one of `ARCHITECTURES`.
        stem: channels of the stem's first two convolutions.
    """

    def __init__(self, arch: str, n_classes: int, stem: Sequence[int]) -> None:
        shape = ARCHITECTURES[arch]
        first, second = stem
        layers: list[nn.Module] = [
            ConvLayer(3, first, 3, stride=2),
            ConvLayer(first, second, 3),
            ConvLayer(second, shape.width, 3),
            nn.MaxPool2d(3, 2, 1),
        ]
        n_in = shape.width
        for stage, (width, depth) in enumerate(zip(shape.widths, shape.depths, strict=True)):
            blocks = []
            for number in range(depth):
                blocks.append(ResBlock(shape.expansion, n_in, width, 2 if stage and not number else 1))
                n_in = width * shape.expansion
            layers.append(nn.Sequential(*blocks))
        # fastai drops out nothing here; the layer keeps the classifier's number.
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0), nn.Linear(n_in, n_classes)]
        super().__init__(*layers)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draws all weights anew: normal after He et al. 2015; the norm that ends a residual branch begins at 0."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResBlock):
                last = module.convpath[-1]
                assert isinstance(last, ConvLayer)
                nn.init.zeros_(last[1].weight)  # type: ignore[arg-type]
