"""The registry of networks, built in or from packages (entry point group `proxyflow.architectures`).

Importing it does not import torch, so `--help` stays fast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from proxyflow.core.errors import InvalidValue
from proxyflow.core.registry import Registry, missing_member
from proxyflow.proxies.width import channels_at
from proxyflow.spaces.configuration import Configuration
from proxyflow.trainers.images.libraries import SEPARATOR, network_of
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


@runtime_checkable
class ScalableArchitecture(Architecture, Protocol):
    """Optional capability of an architecture: variants with fewer channels, for the reduction `width:F`."""

    def at_width(self, fraction: float) -> Architecture:
        """Returns the architecture with a fraction of the channels of every layer, above 0 and at most 1.

        It returns itself where rounding leaves all channels as they are.
        """
        ...


@runtime_checkable
class SizedArchitecture(Architecture, Protocol):
    """Optional capability of an architecture: networks that are made for one size of images."""

    def at_size(self, side: int) -> Architecture:
        """Returns the architecture for images of this side, in pixels."""
        ...


def architecture_of(name: str) -> Architecture:
    """The architecture of a name: a registered one, or a library's as `LIBRARY/NAME`.

    Raises:
        InvalidValue: there is none.
    """
    return network_of(name) if SEPARATOR in name else architectures[name]


def has_widths(architecture: Architecture) -> bool:
    """Whether there are variants with fewer channels."""
    return isinstance(architecture, ScalableArchitecture)


def at_width(architecture: Architecture, fraction: float) -> Architecture:
    """The variant with a fraction of the channels.

    Raises:
        InvalidValue: the architecture has none.
    """
    if fraction == 1:
        return architecture
    if not isinstance(architecture, ScalableArchitecture):
        rule = f"{type(architecture).__name__} has no narrower variants; give it a method at_width"
        raise InvalidValue("width", fraction, rule)
    return architecture.at_width(fraction)


def fitted(architecture: Architecture, width: float, side: int | None) -> Architecture:
    """The variant with a fraction of the channels, for images of a side in pixels; None for what it was made for.

    Raises:
        InvalidValue: the architecture has no such width.
    """
    narrow = at_width(architecture, width)
    return narrow.at_size(side) if side is not None and isinstance(narrow, SizedArchitecture) else narrow


@dataclass(frozen=True)
class XResNetArchitecture:
    """XResNets of one shape, whose stem is configured.

    Attributes:
        width: Fraction of the channels, stem included.
    """

    shape: XResNetShape
    width: float = 1.0

    def at_width(self, fraction: float) -> XResNetArchitecture:
        """The architecture with a fraction of the channels, the first stage's rounded to a multiple of 8."""
        width = self.width * fraction
        same = channels_at(self.shape.width, width) == channels_at(self.shape.width, self.width)
        return self if same else dataclasses.replace(self, width=width)

    def build(self, configuration: Configuration, n_classes: int) -> nn.Module:
        from proxyflow.trainers.images.xresnet import XResNet  # imports torch, which takes seconds

        stem = (configuration["stem_channels_1"], configuration["stem_channels_2"])
        shape = dataclasses.replace(self.shape, width=channels_at(self.shape.width, self.width))
        return XResNet(shape, n_classes, tuple(channels_at(channels, self.width) for channels in stem))


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
