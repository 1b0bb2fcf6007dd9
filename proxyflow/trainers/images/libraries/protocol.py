"""What a library of networks is, and a network of one as an `Architecture`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from proxyflow.core.errors import InvalidValue
from proxyflow.spaces.configuration import Configuration

if TYPE_CHECKING:
    from torch import Tensor, nn

SAME_WIDTH = 0.05  # relative: multipliers in names are rounded, as .35 for a third


@dataclass(frozen=True)
class Normalization:
    """How pixels in 0..1 are normalized: less `mean`, divided by `std`, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Library(Protocol):
    """Makes the networks of a package, and knows their published weights."""

    def names(self) -> Sequence[str]:
        """The names of its image classifiers.

        Raises:
            InvalidValue: the package is not installed.
        """
        ...

    def make(self, name: str, n_classes: int, side: int | None) -> nn.Module:
        """A new network with random weights, for colour images.

        Args:
            side: of the images in pixels; None for what the network was made for.
        """
        ...

    def multiplier(self, name: str) -> tuple[str, float] | None:
        """What a name is without its width, and this width; None where the name has none."""
        ...

    def published(self, name: str) -> Path:
        """The file of the weights that the library has for a network: from its cache, else downloaded to it.

        Raises:
            InvalidValue: it has none, or they are not in the cache and cannot be downloaded.
        """
        ...

    def normalization(self, name: str) -> Normalization:
        """Of the images that these weights were trained on."""
        ...

    def adapted(self, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Weights as a network names and shapes them, such as places of patches for another size of images."""
        ...


@dataclass(frozen=True)
class LibraryNetwork:
    """A network of a library, an `Architecture`.

    Attributes:
        family: name of the library.
        library: makes it.
        name: in the library.
        side: of the images in pixels; None for what the network was made for.
    """

    family: str
    library: Library
    name: str
    side: int | None = None

    @property
    def version(self) -> str:
        """Of the package, as its networks may change."""
        return f"{self.family} {version_of(self.family)}"

    def build(self, configuration: Configuration, n_classes: int) -> nn.Module:
        return self.library.make(self.name, n_classes, self.side)

    def at_size(self, side: int) -> LibraryNetwork:
        """The network for images of this side."""
        return replace(self, side=side)


@dataclass(frozen=True)
class ScalableLibraryNetwork(LibraryNetwork):
    """A network whose library has it in several widths, such as `mobilenetv3_small_050` and `_100`."""

    def at_width(self, fraction: float) -> ScalableLibraryNetwork:
        """The variant with about a fraction of the channels.

        Raises:
            InvalidValue: the library has none of this width.
        """
        own = _multiplier_of(self.library, self.name)
        widths = {each / own: name for each, name in variants(self.library, self.name).items()}
        nearest = min(widths, key=lambda each: abs(each - fraction))
        if abs(nearest - fraction) > SAME_WIDTH * fraction:
            narrower = ", ".join(f"{each:.3g}" for each in sorted(widths) if each < 1)
            rule = f"{self.family}/{self.name} has the narrower variants {narrower}; take one of these"
            raise InvalidValue("width", fraction, rule if narrower else f"{self.family}/{self.name} is the narrowest")
        return self if widths[nearest] == self.name else replace(self, name=widths[nearest])


def _multiplier_of(library: Library, name: str) -> float:
    found = library.multiplier(name)
    assert found is not None, name
    return found[1]


def variants(library: Library, name: str) -> dict[float, str]:
    """By width, the networks that differ from one in it alone."""
    own = library.multiplier(name)
    if own is None:
        return {}
    found = {each: library.multiplier(each) for each in library.names()}
    return {width[1]: each for each, width in found.items() if width is not None and width[0] == own[0]}


def version_of(package: str) -> str:
    """The installed version of a package; empty where it is a folder on the path."""
    try:
        return version(package)
    except PackageNotFoundError:  # a folder on the path
        return ""
