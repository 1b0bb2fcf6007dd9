"""Where data sets come from, one file per source; importing this registers them all, in this order."""

from proxyflow.data.sources.base import Found, Listing, Source, datasets
from proxyflow.data.sources.digits import Digits
from proxyflow.data.sources.fashion_mnist import FashionMnist
from proxyflow.data.sources.cifar10 import Cifar10
from proxyflow.data.sources.folder import Folder
from proxyflow.data.sources.imagenette import Imagenette

__all__ = [
    "Cifar10",
    "Digits",
    "FashionMnist",
    "Folder",
    "Found",
    "Imagenette",
    "Listing",
    "Source",
    "datasets",
]
