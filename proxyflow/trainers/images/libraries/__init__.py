"""Networks of libraries, named `timm/NAME` and `torchvision/NAME`. Importing this package imports none of them."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.core.registry import Registry
from proxyflow.trainers.images.libraries.protocol import (
    Library,
    LibraryNetwork,
    Normalization,
    ScalableLibraryNetwork,
    variants,
    version_of,
)
from proxyflow.trainers.images.libraries.timm import Timm
from proxyflow.trainers.images.libraries.torchvision import Torchvision

__all__ = [
    "SEPARATOR",
    "Library",
    "LibraryNetwork",
    "Normalization",
    "ScalableLibraryNetwork",
    "libraries",
    "network_of",
]

SEPARATOR = "/"
CLOSE_NAMES, LIKENESS = 4, 0.6  # of those that an unknown name may stand for

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
            "arch", name, f"{hint}{family} {version_of(family)} has {len(known)} networks, and not this one"
        )
    kind = ScalableLibraryNetwork if len(variants(library, own)) > 1 else LibraryNetwork
    return kind(family, library, own)
