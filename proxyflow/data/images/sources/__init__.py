"""Where images come from, one file per source; importing this registers them all, in this order."""

import proxyflow.data.images.modality  # noqa: F401  (registers what images are)
from proxyflow.data.images.sources.digits import Digits
from proxyflow.data.images.sources.fashion_mnist import FashionMnist
from proxyflow.data.images.sources.cifar10 import Cifar10
from proxyflow.data.images.sources.folder import Folder
from proxyflow.data.images.sources.imagenette import Imagenette
from proxyflow.data.images.sources.listed import ListedImages
from proxyflow.data.protocol import datasets

__all__ = ["Cifar10", "Digits", "FashionMnist", "Folder", "Imagenette", "ListedImages", "datasets"]
