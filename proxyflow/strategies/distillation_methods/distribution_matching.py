"""Images whose mean embedding in random networks is that of the real ones: cheap and well established."""

from __future__ import annotations

from dataclasses import dataclass

from proxyflow.core.settings import Choice, Number, setting
from proxyflow.strategies.distillation_methods.base import ITERATIONS, Method, register_method

# What an augmentation may be drawn from; the published code draws from all of the first for every data set.
AUGMENTATIONS = {
    "all": ("color", "crop", "cutout", "flip", "scale", "rotate"),
    "no-flip": ("color", "crop", "cutout", "scale", "rotate"),
    "none": (),
}


@register_method
@dataclass(frozen=True)
class DistributionMatching(Method):
    """Moves images, real ones at first, so that random ConvNets embed those of a class as its real ones on average.

    In each iteration a network is drawn, and for each class an augmentation that real and synthetic images share. The
    published settings are iterations=20000, width=128, real_per_class=256; the defaults here are for minutes on a CPU.
    """

    name = "distribution-matching"
    summary = "real images, moved until random networks embed each class as its real images on average"
    source = "Zhao & Bilen 2023, Dataset condensation with distribution matching, equation 6 and algorithm 1"
    process = ("matching", "Matching")
    remedy = "use a smaller learning_rate"

    iterations: int = setting(1000, ITERATIONS, "networks that are drawn, each for one step of the images")
    width: int = setting(32, Number(low=1, high=1024, whole=True, example="128"), "channels of the random ConvNets")
    depth: int = setting(
        3, Number(low=1, high=8, whole=True, example="3"), "blocks of the ConvNets; each halves a side"
    )
    real_per_class: int = setting(
        64, Number(low=1, whole=True, example="256"), "real images of each class per iteration, or all of a smaller one"
    )
    learning_rate: float = setting(1.0, Number(low=0, above=True, example="1"), "of the images, by gradient descent")
    momentum: float = setting(0.5, Number(low=0, high=1, below=True, example="0.5"), "of the images' gradient descent")
    augmentation: str = setting("all", Choice(tuple(AUGMENTATIONS)), "kinds of which each class is shown one")
