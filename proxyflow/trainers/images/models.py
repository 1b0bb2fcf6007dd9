"""Builds networks with seeded initial weights, reads their embeddings, and counts their FLOPs."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from proxyflow.core.errors import InvalidValue, UserError, one_line
from proxyflow.core.files import digest, sha256_of, write_json
from proxyflow.core.folders import cache_folder
from proxyflow.core.seeds import stream_seed
from proxyflow.spaces.configuration import Configuration
from proxyflow.trainers.devices import with_index
from proxyflow.trainers.images import xresnet
from proxyflow.trainers.images.architectures import Architecture, architecture_of, fitted
from proxyflow.trainers.images.libraries import Normalization
from proxyflow.trainers.images.weights import find_weights, load_weights

# Hyperparameters that change neither a network's layers nor what it costs, with placeholder values.
NON_NETWORK_VALUES = {
    "learning_rate": 1.0,
    "flip_probability": 0.0,
    "optimizer": "adam",
    "label_smoothing": 0.0,
    "batch_size": 2,
    "weight_decay": 0.0,
    "weights": "none",
}


class Renormalized(nn.Module):
    """A network whose weights were trained on other images: brings pixels to the normalization of these.

    Args:
        network: takes images of normalization `theirs`.
        ours: normalization of the images that this module takes.
    """

    def __init__(self, network: nn.Module, ours: Normalization, theirs: Normalization) -> None:
        super().__init__()
        self.network = network
        (mean, std), (their_mean, their_std) = (_columns(each) for each in (ours, theirs))
        self.register_buffer("scale", std / their_std)
        self.register_buffer("shift", (mean - their_mean) / their_std)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, 3, h, w)` to logits."""
        assert isinstance(self.scale, Tensor)
        assert isinstance(self.shift, Tensor)
        logits: Tensor = self.network(x * self.scale.to(x.dtype) + self.shift.to(x.dtype))
        return logits

    def no_weight_decay(self) -> set[str]:
        """As of the network, see `split_parameters`."""
        named = getattr(self.network, "no_weight_decay", None)
        return {f"network.{name}" for name in named()} if callable(named) else set()


def _columns(normalization: Normalization) -> tuple[Tensor, Tensor]:
    """`(1, 3 or 1, 1, 1)` mean and standard deviation."""
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (normalization.mean, normalization.std))
    return mean, std


def build_model(
    configuration: Configuration,
    n_classes: int,
    seed: int,
    width: float = 1.0,
    image_size: int | None = None,
    normalization: Normalization | None = None,
) -> nn.Module:
    """Builds a network for 3-channel images, with weights from the random stream `init` or those of `weights`.

    Does not change the state of torch's global generator.

    Args:
        width: fraction of the channels.
        image_size: side of the images in pixels; None for what the network was made for, or any.
        normalization: of the images; given weights, the network brings them to that of the weights.

    Raises:
        InvalidValue: the weights cannot be had, or do not fit.
    """
    model = copy.deepcopy(_initial(_network_of(configuration), n_classes, seed, width, image_size))
    weights = find_weights(configuration, width)
    if weights is not None:
        load_weights(model, _head_of(model), weights, _architecture(configuration, width, image_size))
        if normalization is not None and weights.normalization not in (None, normalization):
            assert weights.normalization is not None
            model = Renormalized(model, normalization, weights.normalization)
    return freeze(model, configuration.get("freeze", 0.0))


def freeze(model: nn.Module, fraction: float) -> nn.Module:
    """Fixes a fraction of the layers, counted from the input, in place; the classifier is always trained.

    Fixed layers need no gradients, and fixed norms keep their statistics.
    """
    if not fraction:
        return model
    head = set(classifier_of(model).modules())
    layers = [each for each in model.modules() if each not in head and any(True for _ in each.parameters(False))]
    for layer in layers[: round(fraction * len(layers))]:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(False)
        if isinstance(layer, nn.modules.batchnorm._NormBase):
            layer.eval()
            layer.train = _as_it_is.__get__(layer)  # type: ignore[method-assign]
    return model


def _as_it_is(self: nn.Module, mode: bool = True) -> nn.Module:
    """`train` of a fixed layer."""
    return self


def _head_of(model: nn.Module) -> str:
    """The name of the classifier."""
    head = classifier_of(model)
    names: dict[int, str] = {id(module): name for name, module in model.named_modules()}
    return names[id(head)]


def _network_of(configuration: Configuration) -> Configuration:
    """The configuration with placeholders for hyperparameters that do not change the network."""
    return configuration.replace(**NON_NETWORK_VALUES)


def _architecture(network: Configuration, width: float, image_size: int | None) -> Architecture:
    return fitted(architecture_of(network["arch"]), width, image_size)


@lru_cache(maxsize=2)
def _initial(network: Configuration, n_classes: int, seed: int, width: float, image_size: int | None) -> nn.Module:
    """An untrained network; cached, because many configurations of a study share it."""
    init = stream_seed(seed, "init")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init)
        model = _architecture(network, width, image_size).build(network, n_classes)
    initialise = getattr(model, "initialise", None)
    if callable(initialise):
        initialise(torch.Generator().manual_seed(init))
    return model


def seed_layers(device: torch.device, seed: int, epoch: int) -> None:
    """Seeds what random layers draw from, such as dropout: the device's default generator, from the stream `layers`.

    Each epoch has a seed of its own, so that a resumed training draws the same.
    """
    drawn = stream_seed(seed, "layers", epoch)
    if device.type == "cuda":
        torch.cuda.default_generators[with_index(device).index].manual_seed(drawn)
    else:
        torch.default_generator.manual_seed(drawn)


def classifier_of(model: nn.Module) -> nn.Linear:
    """The classifier: what timm's networks name as theirs, else the last linear layer; its inputs are the embeddings.

    Raises:
        UserError: the network has no linear layer.
    """
    model = model.network if isinstance(model, Renormalized) else model
    named = getattr(model, "get_classifier", None)
    if callable(named) and isinstance(classifier := named(), nn.Linear):
        return classifier
    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not found:
        raise UserError(
            f"{type(model).__name__} has no linear layer, so it has no embeddings, which scores need: use a "
            "torch.nn.Linear as its classifier"
        )
    return found[-1]


@contextmanager
def embeddings_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """Yields a list to which each forward pass appends the classifier's inputs, `(n, d)`."""
    collected: list[Tensor] = []
    hook = classifier_of(model).register_forward_pre_hook(lambda module, inputs: collected.append(inputs[0].flatten(1)))
    try:
        yield collected
    finally:
        hook.remove()


def set_memory_format(model: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Converts a model's convolution weights to the memory format of its batches, in place.

    Gradients have that format, and fused optimizers assume equal strides of parameters and gradients. `Module.to` skips
    1 x 1 kernels, whose format is ambiguous.
    """
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = torch.empty_like(parameter, memory_format=layout).copy_(parameter.data)
    return model


def flops_per_example(configuration: Configuration, n_classes: int, image_size: int, width: float = 1.0) -> float:
    """FLOPs of one training example, forward and backward (2 per multiply-add)."""
    return _count_flops(_network_of(configuration), n_classes, image_size, width)


@lru_cache(maxsize=256)
def _count_flops(network: Configuration, n_classes: int, image_size: int, width: float) -> float:
    """Cached in a file per machine, because importing torch's counter takes two seconds."""
    source = _source_of(_architecture(network, width, image_size))
    if not source:
        return _counted(network, n_classes, image_size, width)
    name = f"{network['arch']} {digest([dict(network), source])[:12]} {n_classes} classes {image_size} px"
    name += "" if width == 1 else f" width {width}"
    written_by = {"torch": torch.__version__, "network": sha256_of(Path(xresnet.__file__))}
    path = cache_folder() / "flops.json"
    try:
        cached = json.loads(path.read_text(encoding="utf-8"))
        counts: dict[str, float] = dict(cached["counts"]) if cached["written_by"] == written_by else {}
        if name in counts:
            return float(counts[name])
    except (OSError, ValueError, KeyError, TypeError):
        counts = {}
    counts[name] = _counted(network, n_classes, image_size, width)
    with suppress(OSError):  # without a writable folder, the next process counts again
        write_json(path, {"written_by": written_by, "counts": counts})
    return counts[name]


def _source_of(architecture: Architecture) -> str:
    """SHA-256 of the file that builds it, with the version of its package; empty where there is none."""
    try:
        return sha256_of(Path(inspect.getfile(type(architecture)))) + getattr(architecture, "version", "")
    except (TypeError, OSError):  # made at a prompt
        return ""


def _counted(network: Configuration, n_classes: int, image_size: int, width: float) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    architecture = _architecture(network, width, image_size)

    def count(device: str) -> float:
        with torch.random.fork_rng(devices=[]):
            model = freeze(architecture.build(network, n_classes), network.get("freeze", 0.0)).to(device).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, image_size, image_size, device=device)).sum().backward()
        return float(counter.get_total_flops())

    # The count depends on shapes only, so it runs on the meta device; some networks read values, and fail there.
    with suppress(Exception):
        return count("meta")
    try:
        return count("cpu")
    except Exception as error:  # other people's networks may raise anything
        taken = f"arch={network['arch']} does not take images of {image_size} pixels ({one_line(error).rstrip('.!')})"
        rule = f"{taken}; use another image_size or arch"
        raise InvalidValue("image_size", image_size, rule) from None
