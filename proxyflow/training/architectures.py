"""Networks that can be asked for by name, as shapes: which exist can be said without torch."""

from __future__ import annotations

from dataclasses import dataclass

# Channels of the four stages over those of the first.
STAGES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Architecture:
    """The shape of an XResNet.

    Attributes:
        expansion: channels of a block's output over the block's width; 4 has bottlenecks.
        depths: blocks per stage.
        width: channels of the stem's output and width of the first stage's blocks; each later stage doubles it.
    """

    expansion: int
    depths: tuple[int, int, int, int]
    width: int = 64

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of the blocks of each stage."""
        return tuple(self.width * stage for stage in STAGES)


# The narrow ones (a quarter of the width, as fastai's widen=0.25) are for small images, few examples and CPUs.
ARCHITECTURES = {
    "xresnet50": Architecture(4, (3, 4, 6, 3)),
    "xresnet18": Architecture(1, (2, 2, 2, 2)),
    "xresnet34": Architecture(1, (3, 4, 6, 3)),
    "xresnet101": Architecture(4, (3, 4, 23, 3)),
    "xresnet10-w16": Architecture(1, (1, 1, 1, 1), 16),
    "xresnet18-w16": Architecture(1, (2, 2, 2, 2), 16),
    "xresnet34-w16": Architecture(1, (3, 4, 6, 3), 16),
}
