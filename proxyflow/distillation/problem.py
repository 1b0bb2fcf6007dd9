"""The inputs of every method: real images by class, labels of synthetic images, and random streams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxyflow.core.errors import UserError
from proxyflow.core.seeds import generator, stream_seed
from proxyflow.data.images.batches import DeviceImages
from proxyflow.data.images.store import images_of
from proxyflow.data.protocol import Dataset, by_content
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.strategies.distilled import per_class

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Problem:
    """One distillation, without its method.

    Attributes:
        dataset: the real images are its training examples, ordered by content hash.
        image_size: side of the images in pixels.
        seed: root of all random streams.
        device: the device; `meta` to estimate memory.
        start: `(n,)` positions of the real images that synthetic images replace, by class.
    """

    dataset: Dataset
    image_size: int
    seed: int
    device: torch.device
    start: Positions

    @staticmethod
    def of(dataset: Dataset, spec: DistillationSpec, device: torch.device) -> Problem:
        """Creates the problem of a spec.

        Raises:
            UserError: a class has no example.
        """
        train = dataset.train.take(by_content(dataset.train))
        missing = np.setdiff1d(np.arange(len(dataset.class_names)), train.labels)
        if len(missing):
            raise UserError(
                f"{dataset.name} has no training example of class {dataset.class_names[missing[0]]} to start from"
            )
        start = per_class(train.labels, spec.images_per_class, generator(spec.seed, "select"))
        dataset = replace(dataset, train=train)
        return Problem(dataset, spec.image_size or dataset.preprocessing.image_size, spec.seed, device, start)

    @property
    def on_meta_device(self) -> Problem:
        """The same problem with meta tensors, which have shapes but no data."""
        return replace(self, device=torch.device("meta"))

    @property
    def n_classes(self) -> int:
        return len(self.dataset.class_names)

    @property
    def channels(self) -> int:
        return images_of(self.dataset.train).channels

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """`(n,)` labels of the synthetic images, ascending."""
        return self.dataset.train.labels[self.start]

    @cached_property
    def members(self) -> list[Positions]:
        """Positions of the real images of each class."""
        return [np.flatnonzero(self.dataset.train.labels == label) for label in range(self.n_classes)]

    @cached_property
    def _images(self) -> DeviceImages:
        dataset = self.dataset
        preprocessing = dataset.preprocessing.at(self.image_size)
        classes = range(self.n_classes)
        return DeviceImages(dataset.train, classes, preprocessing, self.device, layout=torch.contiguous_format)

    def real(self, positions: Positions) -> Tensor:
        """`(b, channels, size, size)` normalised real images, not augmented."""
        if self.device.type == "meta":
            return torch.empty(len(positions), self.channels, self.image_size, self.image_size, device=self.device)
        return self._images.batch(torch.from_numpy(positions), positions)[:, : self.channels]

    def real_labels(self, positions: Positions) -> Tensor:
        """`(b,)` labels of real images."""
        return torch.from_numpy(self.dataset.train.labels[positions]).to(self.device)

    def rng(self, *names: str | int) -> np.random.Generator:
        """A named random stream; names with the iteration's number make iterations independent of each other."""
        return generator(self.seed, "distil", *names)

    def torch_generator(self, *names: str | int) -> torch.Generator:
        """Like `rng`, for torch; on the CPU, so that all devices use the same numbers."""
        return torch.Generator().manual_seed(stream_seed(self.seed, "distil", *names))

    def pixels(self, images: Tensor) -> NDArray[np.uint8]:
        """`(n, size, size, channels)`: 8-bit pixels of normalised images."""
        shape = (1, self.channels, 1, 1)
        mean, std = (
            torch.tensor(each).view(shape) for each in (self.dataset.preprocessing.mean, self.dataset.preprocessing.std)
        )
        levels = (images.detach().float().cpu() * std + mean).mul(255).round().clamp(0, 255)
        return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
