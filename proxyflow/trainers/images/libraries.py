"""Networks of libraries, named `timm/NAME` and `torchvision/NAME`. Importing this module imports none of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.core.registry import Registry
from proxyflow.spaces.configuration import Configuration

if TYPE_CHECKING:
    from torch import nn

SAME_WIDTH = 0.05  # relative: multipliers in names are rounded, as .35 for a third
SEPARATOR = "/"
CLOSE_NAMES, LIKENESS = 4, 0.6  # of those that an unknown name may stand for


class Library(Protocol):
    """Makes the networks of a package."""

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
        return f"{self.family} {_version(self.family)}"

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
        widths = {each / own: name for each, name in _variants(self.library, self.name).items()}
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


def _variants(library: Library, name: str) -> dict[float, str]:
    """By width, the networks that differ from one in it alone."""
    own = library.multiplier(name)
    if own is None:
        return {}
    found = {each: library.multiplier(each) for each in library.names()}
    return {width[1]: each for each, width in found.items() if width is not None and width[0] == own[0]}


class Timm:
    """The networks of timm (https://github.com/huggingface/pytorch-image-models), which is an extra."""

    # mobilenetv3_small_050: half of the channels.
    _WIDTH = re.compile(r"(?P<base>(?:mobilenet|mnasnet|semnasnet|lcnet|ghostnet|fbnetv3?)\w*_)(?P<percent>\d{3})")

    def names(self) -> Sequence[str]:
        timm = self._package()
        return tuple(timm.list_models())

    def make(self, name: str, n_classes: int, side: int | None) -> nn.Module:
        timm = self._package()
        config = timm.get_pretrained_cfg(name)
        # Transformers are made for one size; other networks take any, and have no such argument.
        sized = {"img_size": side} if side is not None and config is not None and config.fixed_input_size else {}
        try:
            network: nn.Module = timm.create_model(name, num_classes=n_classes, **sized)
        except TypeError:
            if not sized:
                raise
            network = timm.create_model(name, num_classes=n_classes)
        _check_patches(network, side)
        return network

    def multiplier(self, name: str) -> tuple[str, float] | None:
        found = self._WIDTH.fullmatch(name)
        return None if found is None else (found["base"], int(found["percent"]) / 100)

    def _package(self) -> Any:
        if find_spec("timm") is None:
            rule = "the package timm is not installed; install the extra: pip install 'proxyflow[timm]'"
            raise InvalidValue("arch", f"timm{SEPARATOR}", rule)
        import timm

        return timm


def _check_patches(network: nn.Module, side: int | None) -> None:
    """Refuses sides that patches do not divide, of which timm's transformers would leave out a border."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if side is not None and isinstance(patch, tuple) and side % patch[0]:
        raise ValueError(f"its patches have a side of {patch[0]}, which does not divide {side}")


class Torchvision:
    """The image classifiers of torchvision (https://docs.pytorch.org/vision/stable/models.html)."""

    # shufflenet_v2_x0_5 and mnasnet0_5: half of the channels.
    _WIDTH = re.compile(r"(?P<base>shufflenet_v2_x|mnasnet)(?P<whole>\d)_(?P<part>\d+)")
    # What the classes of networks that are made for one size call it.
    _SIZED: Mapping[str, Callable[[int], dict[str, Any]]] = {
        "vit_": lambda side: {"image_size": side},
        "maxvit": lambda side: {"input_size": (side, side)},
    }
    # These have a second classifier that only training uses.
    _AUXILIARY: Mapping[str, Any] = {"aux_logits": False, "init_weights": True}
    _WITH_AUXILIARY = ("googlenet", "inception_v3")

    def names(self) -> Sequence[str]:
        from torchvision import models  # imports torch

        return tuple(models.list_models(module=models))

    def make(self, name: str, n_classes: int, side: int | None) -> nn.Module:
        from torchvision import models  # imports torch

        options = dict(self._AUXILIARY) if name in self._WITH_AUXILIARY else {}
        for beginning, sized in self._SIZED.items():
            if side is not None and name.startswith(beginning):
                options |= sized(side)
        network: nn.Module = models.get_model(name, weights=None, num_classes=n_classes, **options)
        return network

    def multiplier(self, name: str) -> tuple[str, float] | None:
        found = self._WIDTH.fullmatch(name)
        return None if found is None else (found["base"], float(f"{found['whole']}.{found['part']}"))


libraries: Registry[Library] = Registry("library of networks")
libraries.add("timm", Timm())
libraries.add("torchvision", Torchvision())


@cache
def network_of(name: str) -> LibraryNetwork:
    """A network by `LIBRARY/NAME`.

    Raises:
        InvalidValue: there is no such library, it is not installed, or has no such network; close names are listed.
    """
    family, _, own = name.partition(SEPARATOR)
    if family not in libraries:
        raise UnknownName("arch", name, [f"{each}{SEPARATOR}NAME" for each in libraries])
    library = libraries[family]
    known = library.names()
    if own not in known:
        close = get_close_matches(own, known, n=CLOSE_NAMES, cutoff=LIKENESS)
        hint = f"did you mean {' or '.join(f'{family}{SEPARATOR}{each}' for each in close)}? " if close else ""
        raise InvalidValue(
            "arch", name, f"{hint}{family} {_version(family)} has {len(known)} networks, and not this one"
        )
    kind = ScalableLibraryNetwork if len(_variants(library, own)) > 1 else LibraryNetwork
    return kind(family, library, own)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a folder on the path
        return ""
