"""Batches made on the device from images that were copied to it once.

Every random choice is keyed by (seed, stream, epoch) and drawn per example, so the batch size does not
change what an example looks like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from proxyflow.data.images import ImageSet
from proxyflow.seeds import stream_seed

VALID_BATCH = 256


@dataclass(frozen=True, eq=False)
class DeviceImages:
    """Images at the size they are trained on, with labels counted from 0 within the trained classes.

    Attributes:
        images: `(n, channels, size, size) uint8`.
        labels: `(n,) int64`.
        mean, std: `(1, channels, 1, 1) float32`, for pixels in 0..255.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @staticmethod
    def load(
        images: ImageSet,
        classes: Sequence[int],
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
    ) -> DeviceImages:
        """Copies images to the device and brings them to `image_size` (bilinear) there."""
        pixels = torch.from_numpy(np.ascontiguousarray(images.images)).to(device).permute(0, 3, 1, 2)
        if pixels.shape[2:] != (image_size, image_size):
            enlarged = F.interpolate(pixels.float(), size=(image_size, image_size), mode="bilinear", antialias=True)
            pixels = enlarged.round_().clamp_(0, 255).to(torch.uint8)
        labels = torch.from_numpy(np.searchsorted(np.asarray(classes), images.labels)).to(device)
        shape = (1, len(mean), 1, 1)
        return DeviceImages(
            pixels,
            labels,
            torch.tensor(mean, device=device).reshape(shape) * 255,
            torch.tensor(std, device=device).reshape(shape) * 255,
        )

    def batch(self, index: Tensor) -> Tensor:
        """Normalised `(len(index), 3, size, size) float32`; grey images are repeated to 3 channels."""
        x = (self.images[index].float() - self.mean) / self.std
        return x if x.shape[1] == 3 else x.expand(-1, 3, -1, -1)


class TrainBatches:
    """Shuffled, flipped batches; each pass over it is the next epoch.

    The last, smaller batch of an epoch is left out, as its batch-norm statistics would differ; where all
    examples are fewer than a batch they are one batch.

    Attributes:
        index: `(batch,) int64`, which examples the current batch holds.
    """

    def __init__(self, data: DeviceImages, batch_size: int, flip_probability: float, seed: int) -> None:
        self.data = data
        self.batch_size = min(batch_size, len(data))
        self.flip_probability = flip_probability
        self.seed = seed
        self.epoch = 0
        self.index = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.data) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        data, device = self.data, self.data.images.device
        order = torch.randperm(len(data), generator=self._generator("data")).to(device)
        chance = torch.rand(len(data), generator=self._generator("augment"))
        flipped = (chance < self.flip_probability).to(device)
        self.epoch += 1
        for step in range(len(self)):
            self.index = order[step * self.batch_size : (step + 1) * self.batch_size]
            x = data.batch(self.index)
            if self.flip_probability:
                x = torch.where(flipped[self.index, None, None, None], x.flip(3), x)
            yield x.contiguous(), data.labels[self.index]

    def _generator(self, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(stream_seed(self.seed, stream, self.epoch))


class ValidBatches:
    """The validation examples in fixed order, prepared once."""

    def __init__(self, data: DeviceImages) -> None:
        everything = torch.arange(len(data), device=data.images.device)
        self.batches = [
            (data.batch(part).contiguous(), data.labels[part]) for part in torch.split(everything, VALID_BATCH)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)
