"""XResNet (He et al. 2019, "Bag of tricks for image classification") as in fastai, without importing fastai.

Importing fastai's module takes 4 seconds of the 9 that a process needs before it can train. Structure, parameter names
and initialization equal fastai's: state dicts are interchangeable, and a test compares the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proxyflow.trainers.images.shapes import XResNetShape


class ConvLayer(nn.Sequential):
    """Convolution, batch norm and (if `act`) ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, act: bool = True) -> None:
        convolution = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(n_out), *([nn.ReLU()] if act else []))


class ResBlock(nn.Module):
    """A residual block; with a stride, the shortcut pools before it projects (ResNet-D)."""

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
        shape: depths and widths.
        n_classes: number of classes.
        stem: output channels of the stem's first two convolutions.
    """

    def __init__(self, shape: XResNetShape, n_classes: int, stem: Sequence[int]) -> None:
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
        # fastai has a dropout of 0 here; it keeps the classifier's index.
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0), nn.Linear(n_in, n_classes)]
        super().__init__(*layers)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Initializes all weights: normal (He et al. 2015); the last norm of each residual branch starts at 0."""
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
