"""The registry of networks, built in or from packages (entry point group `proxyflow.architectures`).

Importing it does not import torch, so `--help` stays fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxyflow.core.registry import Registry, missing_member
from proxyflow.spaces.configuration import Configuration
from proxyflow.trainers.images.shapes import XResNetShape

if TYPE_CHECKING:
    from torch import nn


class Architecture(Protocol):
    """Builds a network: any `nn.Module` from images `(n, 3, size, size)` to logits `(n, n_classes)`.

    The network's last linear layer must be the classifier; its inputs are the embeddings.
    """

    def build(self, configuration: Configuration, n_classes: int) -> nn.Module:
        """Returns a new network.

        The caller seeds torch's global generator, so layers may initialize themselves. If the network has a method
        `initialise(generator)`, that is called afterwards.
        """
        ...


@dataclass(frozen=True)
class XResNetArchitecture:
    """XResNets of one shape, whose stem is configured."""

    shape: XResNetShape

    def build(self, configuration: Configuration, n_classes: int) -> nn.Module:
        from proxyflow.trainers.images.xresnet import XResNet  # imports torch, which takes seconds

        return XResNet(self.shape, n_classes, (configuration["stem_channels_1"], configuration["stem_channels_2"]))


architectures: Registry[Architecture] = Registry(
    "arch", "proxyflow.architectures", lambda name, item: missing_member(item, {"build": Callable})
)
# The -w16 networks have a quarter of the width (fastai's widen=0.25), for small images, few examples and CPUs.
for _shape in (
    XResNetShape("xresnet50", 4, (3, 4, 6, 3)),
    XResNetShape("xresnet18", 1, (2, 2, 2, 2)),
    XResNetShape("xresnet34", 1, (3, 4, 6, 3)),
    XResNetShape("xresnet101", 4, (3, 4, 23, 3)),
    XResNetShape("xresnet10-w16", 1, (1, 1, 1, 1), 16),
    XResNetShape("xresnet18-w16", 1, (2, 2, 2, 2), 16),
    XResNetShape("xresnet34-w16", 1, (3, 4, 6, 3), 16),
):
    architectures.add(_shape.name, XResNetArchitecture(_shape))
