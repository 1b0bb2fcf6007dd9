"""fastai's XResNet with both stem widths, initialised from a named stream, and what a step of it costs."""

from __future__ import annotations

import warnings
from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

with warnings.catch_warnings():
    # torchvision and fastai use parts of torch that are on their way out; users can do nothing about it.
    warnings.simplefilter("ignore")
    from fastai.vision.models import xresnet

from proxyflow.seeds import stream_seed
from proxyflow.training.hyperparameters import Hyperparameters

# The third convolution of the stem feeds the first residual stage, which is 64 wide in every XResNet.
STEM_OUT = 64


def build_model(hyperparameters: Hyperparameters, n_classes: int, seed: int) -> nn.Module:
    """An XResNet for 3-channel images (He et al. 2019, "Bag of tricks"), weights from the stream `init`.

    The global generator is left as it was found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "init"))
        return _xresnet(hyperparameters, n_classes)


def _xresnet(hyperparameters: Hyperparameters, n_classes: int) -> nn.Module:
    stem = (hyperparameters.stem_channels_1, hyperparameters.stem_channels_2, STEM_OUT)
    model: nn.Module = getattr(xresnet, hyperparameters.arch)(n_out=n_classes, stem_szs=stem)
    return model


def lay_out(model: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Gives a model's convolutions the memory format of its batches, in place.

    Gradients come in that format, and fused optimizers take parameters and gradients for laid out alike. Module.to
    leaves 1 x 1 kernels as they are, because theirs can be read either way.
    """
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = torch.empty_like(parameter, memory_format=layout).copy_(parameter.data)
    return model


def flops_per_example(hyperparameters: Hyperparameters, n_classes: int, image_size: int) -> float:
    """Floating-point operations of one training example, forward and backward (2 per multiply-add)."""
    return _count_flops(
        hyperparameters.arch,
        hyperparameters.stem_channels_1,
        hyperparameters.stem_channels_2,
        n_classes,
        image_size,
    )


@lru_cache(maxsize=256)
def _count_flops(arch: str, stem_1: int, stem_2: int, n_classes: int, image_size: int) -> float:
    shape = Hyperparameters(arch=arch, stem_channels_1=stem_1, stem_channels_2=stem_2)
    # Shapes decide the count, so no number is ever computed: the meta device has none.
    with torch.device("meta"):
        model = _xresnet(shape, n_classes).eval()
        images = torch.empty(1, 3, image_size, image_size)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return float(counter.get_total_flops())
