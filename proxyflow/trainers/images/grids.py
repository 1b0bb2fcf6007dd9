"""The image trainer's named grids: the published one, a variant for CPUs, and a small one for demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from proxyflow.core.registry import Registry
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.trainers.images.space import OPTIMIZERS, image_configuration

grids: Registry[Callable[[], Grid]] = Registry("grid")

PUBLISHED_ARCHS = ("xresnet50", "xresnet18", "xresnet101")
# The default network, then a shallower and a deeper one, like XResNet50, 18 and 101.
NARROW_ARCHS = ("xresnet18-w16", "xresnet10-w16", "xresnet34-w16")
LEARNING_RATES = (0.001, 0.003, 0.007, 0.01, 0.1)
STEM_CHANNELS = (4, 32, 48)


@grids.register("paper")
def paper_grid() -> Grid:
    """The published 36 configurations: the default, 19 with one change, and 16 with a changed learning rate, too."""
    return tuple(dict.fromkeys(_paper_configurations(PUBLISHED_ARCHS)))


@grids.register("paper-narrow")
def paper_narrow_grid() -> Grid:
    """The published 36 configurations with narrow networks for CPUs."""
    return tuple(dict.fromkeys(_paper_configurations(NARROW_ARCHS)))


def _paper_configurations(archs: Sequence[str]) -> Iterator[Configuration]:
    """The published configurations, with duplicates.

    Args:
        archs: the networks, the default one first.
    """
    base = {"arch": archs[0]}
    for arch in archs:
        yield image_configuration(arch=arch)
    for rate in LEARNING_RATES:
        yield image_configuration(**base, learning_rate=rate)
    for first, second in product(STEM_CHANNELS, STEM_CHANNELS):
        yield image_configuration(**base, stem_channels_1=first, stem_channels_2=second)
    for name, values in {
        "flip_probability": (0.0, 0.25, 0.5),
        "optimizer": OPTIMIZERS,
        "label_smoothing": (0.0, 0.1),
    }.items():
        for value in values:
            yield image_configuration(**{**base, name: value})
    others = [{"arch": arch} for arch in archs] + [{**base, "optimizer": name} for name in OPTIMIZERS]
    for changes, rate in product(others, LEARNING_RATES):
        yield image_configuration(**changes, learning_rate=rate)


# XResNet18 only, so that a demonstration takes minutes; the configurations differ clearly in target accuracy.
DEMO_DIFFERENCES: tuple[dict[str, Any], ...] = (
    {},
    {"learning_rate": 0.001},
    {"learning_rate": 0.1},
    {"stem_channels_1": 4, "stem_channels_2": 4},
    {"flip_probability": 0.0},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "learning_rate": 0.001},
    {"optimizer": "rmsprop"},
)


@grids.register("demo")
def demo_grid() -> Grid:
    """Eight configurations of XResNet18 whose accuracies differ clearly after a few epochs."""
    return tuple(image_configuration(arch="xresnet18", **changes) for changes in DEMO_DIFFERENCES)
