"""Shapes of XResNets as values, which need no torch."""

from __future__ import annotations

from dataclasses import dataclass

# Width of the four stages relative to the first.
STAGES = (1, 2, 4, 8)


@dataclass(frozen=True)
class XResNetShape:
    """The shape of an XResNet.

    Attributes:
        name: name in the registry.
        expansion: output channels of a block divided by its width; 4 means bottleneck blocks.
        depths: blocks per stage.
        width: output channels of the stem and width of the first stage; each later stage doubles it.
    """

    name: str
    expansion: int
    depths: tuple[int, int, int, int]
    width: int = 64

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of the blocks of each stage."""
        return tuple(self.width * stage for stage in STAGES)
