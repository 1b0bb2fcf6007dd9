"""Networks, initialised from a named stream, and what a step of them costs."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from proxyflow.data.catalog import DataOptions
from proxyflow.files import sha256_of, write_json
from proxyflow.seeds import stream_seed
from proxyflow.training import architectures, xresnet
from proxyflow.training.hyperparameters import Hyperparameters
from proxyflow.training.xresnet import XResNet


def build_model(hyperparameters: Hyperparameters, n_classes: int, seed: int) -> nn.Module:
    """An XResNet for 3-channel images, weights from the stream `init`.

    The global generator is left as it was found.
    """
    arch, stem = hyperparameters.arch, (hyperparameters.stem_channels_1, hyperparameters.stem_channels_2)
    return copy.deepcopy(_initial(arch, stem, n_classes, seed))


@lru_cache(maxsize=2)
def _initial(arch: str, stem: tuple[int, int], n_classes: int, seed: int) -> XResNet:
    """An untrained model; most configurations of a study differ in what is done with the same one."""
    with torch.random.fork_rng(devices=[]):  # layers draw weights of their own, which are not used
        model = XResNet(arch, n_classes, stem)
    model.initialise(torch.Generator().manual_seed(stream_seed(seed, "init")))
    return model


def embed(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings `(n, d)`, which the last layer takes in, and logits `(n, classes)` of a batch."""
    *body, classifier = model.children()
    for layer in body:
        x = layer(x)
    return x, classifier(x)


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
    """Counted once per shape and machine: the counter brings a compiler with it, two seconds of each start."""
    name = f"{arch} {stem_1}-{stem_2} {n_classes} classes {image_size} px"
    written_by = {
        "torch": torch.__version__,
        "network": [sha256_of(Path(str(module.__file__))) for module in (architectures, xresnet)],
    }
    path = DataOptions().cache / "flops.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        counts: dict[str, float] = dict(kept["counts"]) if kept["written_by"] == written_by else {}
        if name in counts:
            return float(counts[name])
    except (OSError, ValueError, KeyError, TypeError):
        counts = {}
    counts[name] = _counted(arch, (stem_1, stem_2), n_classes, image_size)
    with suppress(OSError):  # a folder that cannot be written costs those seconds again
        write_json(path, {"written_by": written_by, "counts": counts})
    return counts[name]


def _counted(arch: str, stem: tuple[int, int], n_classes: int, image_size: int) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    # Shapes decide the count, so no number is ever computed: the meta device has none.
    with torch.device("meta"):
        model = XResNet(arch, n_classes, stem).eval()
        images = torch.empty(1, 3, image_size, image_size)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return float(counter.get_total_flops())
