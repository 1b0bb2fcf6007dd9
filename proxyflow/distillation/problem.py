"""What every method starts from: the real images by class, the labels of synthetic ones, streams of draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxyflow.data.batches import DeviceImages, View
from proxyflow.data.catalog import Dataset
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.errors import UserError
from proxyflow.seeds import generator, stream_seed
from proxyflow.strategies.distilled import per_class

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Problem:
    """One distillation, apart from its method.

    Attributes:
        dataset: its training examples are the real images, in the order of their content.
        image_size: side of the images in pixels.
        device: `meta` is a rehearsal, in which images have a shape and no content.
        start: `(n,)` positions of the real images in whose place synthetic ones come, by class.
    """

    dataset: Dataset
    image_size: int
    seed: int
    device: torch.device
    start: Positions

    @staticmethod
    def of(dataset: Dataset, spec: DistillationSpec, device: torch.device) -> Problem:
        """The problem that a spec poses.

        Raises:
            UserError: a class has no example.
        """
        train = dataset.train.take(dataset.train.by_content)
        missing = np.setdiff1d(np.arange(len(dataset.class_names)), train.labels)
        if len(missing):
            raise UserError(
                f"{dataset.name} has no training example of class {dataset.class_names[missing[0]]}, none can be made"
            )
        start = per_class(train.labels, spec.images_per_class, generator(spec.seed, "select"))
        dataset = replace(dataset, train=train)
        return Problem(dataset, spec.image_size or dataset.image_size, spec.seed, device, start)

    @property
    def rehearsed(self) -> Problem:
        """The same without any content."""
        return replace(self, device=torch.device("meta"))

    @property
    def n_classes(self) -> int:
        return len(self.dataset.class_names)

    @property
    def channels(self) -> int:
        return self.dataset.train.channels

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """`(n,)` labels of the synthetic images, ascending."""
        return self.dataset.train.labels[self.start]

    @cached_property
    def members(self) -> list[Positions]:
        """The real images of each class."""
        return [np.flatnonzero(self.dataset.train.labels == label) for label in range(self.n_classes)]

    @cached_property
    def _images(self) -> DeviceImages:
        dataset = self.dataset
        view = View(self.image_size, dataset.crop, dataset.mean, dataset.std)
        classes = range(self.n_classes)
        return DeviceImages(dataset.train, classes, view, self.device, layout=torch.contiguous_format)

    def real(self, positions: Positions) -> Tensor:
        """`(b, channels, size, size)` real images without augmentation, normalised."""
        if self.device.type == "meta":
            return torch.empty(len(positions), self.channels, self.image_size, self.image_size, device=self.device)
        return self._images.batch(torch.from_numpy(positions), positions)[:, : self.channels]

    def real_labels(self, positions: Positions) -> Tensor:
        """`(b,)` labels of real images."""
        return torch.from_numpy(self.dataset.train.labels[positions]).to(self.device)

    def rng(self, *names: str | int) -> np.random.Generator:
        """A stream of random numbers by name: draws of an iteration depend on its number alone."""
        return generator(self.seed, "distil", *names)

    def torch_generator(self, *names: str | int) -> torch.Generator:
        """As `rng`, for weights; on the host, so that every device has the same."""
        return torch.Generator().manual_seed(stream_seed(self.seed, "distil", *names))

    def pixels(self, images: Tensor) -> NDArray[np.uint8]:
        """`(n, size, size, channels)`: normalised images as they are kept and trained on, in 256 levels."""
        shape = (1, self.channels, 1, 1)
        mean, std = (torch.tensor(each).view(shape) for each in (self.dataset.mean, self.dataset.std))
        levels = (images.detach().float().cpu() * std + mean).mul(255).round().clamp(0, 255)
        return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
