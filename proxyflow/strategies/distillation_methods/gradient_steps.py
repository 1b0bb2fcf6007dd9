"""Images and learning rates with which a few gradient steps train a network that is accurate on real images."""

from __future__ import annotations

from dataclasses import dataclass

from proxyflow.core.settings import Choice, Number, setting
from proxyflow.strategies.distillation_methods.base import ITERATIONS, Method, register_method

# Names of the networks that steps may be taken with; none has batch norm, see `networks.check_no_batch_norm`.
NETWORKS = ("auto", "lenet", "alexnet")


@register_method
@dataclass(frozen=True)
class GradientSteps(Method):
    """Learns by differentiating through `steps` x `epochs` steps of plain gradient descent on the images themselves.

    Images begin as noise, their labels are hard and fixed, and each step has a learning rate of its own. The published
    runs take 400 passes over the real images, 23,600 iterations on MNIST; the default here is for minutes on a CPU.
    """

    name = "gradient-steps"
    summary = "noise, learned with a learning rate for each step until a few gradient steps on it fit the real images"
    source = "Wang et al. 2018, Dataset distillation, algorithm 1, and the authors' code"
    process = ("unrolling", "Unrolling")
    remedy = "use a smaller first_rate (.001 is published for the alexnet) or a smaller learning_rate"

    iterations: int = setting(600, ITERATIONS, "real batches that images and rates are learned on")
    steps: int = setting(
        10, Number(low=1, whole=True, example="10"), "parts of the images, each shown in a step; at most one per image"
    )
    epochs: int = setting(3, Number(low=1, whole=True, example="3"), "times that the steps are gone through")
    first_rate: float = setting(
        0.0,
        Number(low=0, example="0.02"),
        "learning rate that each step begins with; 0 is as published for the network: .02 for lenet, .001 for alexnet",
    )
    learning_rate: float = setting(0.01, Number(low=0, above=True, example="0.01"), "of images and rates, by Adam")
    halve_every: int = setting(
        2400, ITERATIONS, "iterations after which it is halved; published are 40 passes over MNIST, 2,360 iterations"
    )
    batch: int = setting(1024, Number(low=1, whole=True, example="1024"), "real images per iteration")
    init: str = setting(
        "random", Choice(("random", "fixed")), "weights that the steps begin from: drawn in each iteration, or one draw"
    )
    network: str = setting(
        "auto", Choice(NETWORKS), "auto is lenet for grey images of at most 32 pixels, else the alexnet for CIFAR-10"
    )
