"""Batches made on the device from images that were copied to it once, for all subsets of a data set."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from proxyflow.core import cuda
from proxyflow.core.errors import InvalidValue
from proxyflow.core.seeds import stream_seed
from proxyflow.data.images import augment
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.reduce import stored_side
from proxyflow.data.images.resize import Buffer, cut_on_device, cut_on_host, one_by_one, resize_together
from proxyflow.data.images.store import ImageStore, images_of
from proxyflow.data.protocol import Examples
from proxyflow.strategies import Strategy

VALID_BATCH = 256
RESIZED_TOGETHER = 4096

# Pixels that are cut out in one step on a device, some 150 bytes each meanwhile.
CUT_TOGETHER = 2**22

# A store lives on the device if it takes at most this share of the memory that is free there.
DEVICE_SHARE = 0.5

# Validation images are resized to this much more than the training size, and their center is kept (fastai's
# RandomResizedCrop, val_xtra).
VALID_EXTRA = 0.14


@dataclass(frozen=True, eq=False)
class CropBatch:
    """Crops and flips of images, on the device where the pixels are.

    Attributes:
        rows: `(n,) int64`, images of the store.
        boxes: `(n, 4) int64`, see `augment.AugmentParams`.
        flips: `(n,) bool`.
        sides: `(n, 2) int64`, heights and widths of the boxes on the host: asking a device for them would wait for it.
    """

    rows: Tensor
    boxes: Tensor
    flips: Tensor
    sides: NDArray[np.int64]

    def part(self, index: Tensor, on_host: NDArray[np.int64]) -> CropBatch:
        """Some of them; the same positions are given in both places."""
        return CropBatch(self.rows[index], self.boxes[index], self.flips[index], self.sides[on_host])

    @property
    def reach(self) -> tuple[int, int]:
        """Height and width that no box exceeds."""
        height, width = self.sides.max(axis=0, initial=1)
        return int(height), int(width)

    def split(self) -> list[CropBatch]:
        """Parts that are small enough to be cut out together."""
        height, width = self.reach
        together = max(1, CUT_TOGETHER // (height * width))
        if len(self.rows) <= together:
            return [self]
        ranges = range(0, len(self.rows), together)
        parts = (slice(begin, begin + together) for begin in ranges)
        return [CropBatch(self.rows[p], self.boxes[p], self.flips[p], self.sides[p]) for p in parts]


class PreparedImages(Protocol):
    """A store's images, ready to be cropped at one size.

    Attributes:
        place: where its pixels are; the device, or the host where they do not fit.
        kept: pixels that every training asks for again (its validation images), by which images they are.
    """

    place: torch.device
    kept: dict[bytes, Tensor]

    def unaugmented(self, sizes: NDArray[np.int32]) -> NDArray[np.int64]:
        """`(n, 4)` boxes of images of these sizes without augmentation."""
        ...

    def crop(self, crops: CropBatch, unaugmented: bool) -> Tensor:
        """`(b, size, size, channels) uint8`, on the device or in `place`."""
        ...


class PaddedImages:
    """Images resized and padded once, so that a crop only has to be copied."""

    def __init__(self, store: ImageStore, image_size: int, device: torch.device) -> None:
        self.size, self.padding = image_size, augment.padding_of(image_size)
        self.kept: dict[bytes, Tensor] = {}
        side = image_size + 2 * self.padding
        self.place = place_for(len(store) * side * side * store.channels, device)
        inner = slice(self.padding, self.padding + image_size)
        pixels = torch.zeros(len(store), side, side, store.channels, dtype=torch.uint8)
        # Images of one size, which these mostly are, are resized many at a time.
        for size in np.unique(store.sizes, axis=0):
            rows = np.flatnonzero((store.sizes == size).all(axis=1))
            for some in np.split(rows, range(RESIZED_TOGETHER, len(rows), RESIZED_TOGETHER)):
                images = torch.from_numpy(np.stack([store.image(int(row)) for row in some]))
                if tuple(size) != (image_size, image_size):
                    planes = images.permute(0, 3, 1, 2)
                    planes = F.interpolate(planes, size=(image_size, image_size), mode="bilinear", antialias=True)
                    images = planes.permute(0, 2, 3, 1)
                pixels[torch.from_numpy(some), inner, inner] = images
        self.pixels = pixels.to(self.place)

    def unaugmented(self, sizes: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.tile([self.padding, self.padding, self.size, self.size], (len(sizes), 1))

    def crop(self, crops: CropBatch, unaugmented: bool) -> Tensor:
        if unaugmented:  # one place for all: whole rows of pixels are copied, not one by one
            inner = slice(self.padding, self.padding + self.size)
            return self.pixels[:, inner, inner][crops.rows]
        steps = torch.arange(self.size, device=self.place)
        ys = crops.boxes[:, 0, None] + steps
        xs = crops.boxes[:, 1, None] + torch.where(crops.flips[:, None], steps.flip(0), steps)
        return self.pixels[crops.rows[:, None, None], ys[:, :, None], xs[:, None]]


class NativeImages:
    """Images at the sizes that they are stored at, resized when they are cropped."""

    def __init__(self, store: ImageStore, image_size: int, device: torch.device) -> None:
        self.size = image_size
        self.kept: dict[bytes, Tensor] = {}
        self.margin = math.ceil(image_size * VALID_EXTRA / 8) * 8 // 2
        self.device, self.place = device, place_for(len(store.pixels), device)
        self.one_by_one = device.type == "cpu"
        # It is kept with its store, so it must not keep the store.
        self.store = weakref.proxy(store)
        self.buffer = None if self.place.type == "cpu" else buffer_of(store, self.place)

    def unaugmented(self, sizes: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.concatenate([np.zeros_like(sizes), sizes], axis=1).astype(np.int64)

    def crop(self, crops: CropBatch, unaugmented: bool) -> Tensor:
        margin = self.margin if unaugmented else 0
        if self.one_by_one:
            return one_by_one(self.store, crops.rows, crops.boxes, crops.flips, self.size, margin)
        return torch.cat([self._together(part, margin) for part in crops.split()])

    def _together(self, crops: CropBatch, margin: int) -> Tensor:
        # The device computes wherever the store is, so that pixels do not depend on its free memory.
        if self.buffer is not None:
            parts = cut_on_device(self.buffer, crops.rows, crops.boxes, crops.reach)
        else:
            parts = cut_on_host(self.store, crops.rows, crops.boxes, crops.reach).to(self.device)
        boxes, flips = crops.boxes.to(self.device), crops.flips.to(self.device)
        return resize_together(parts, boxes, flips, self.size, margin)


PREPARED_BY_CROP: dict[str, type[PaddedImages] | type[NativeImages]] = {"padded": PaddedImages, "resized": NativeImages}

# What was prepared of a store is freed with it.
_prepared: WeakKeyDictionary[ImageStore, dict[tuple[str, int, torch.device], PreparedImages]] = WeakKeyDictionary()
_buffers: WeakKeyDictionary[ImageStore, dict[torch.device, Buffer]] = WeakKeyDictionary()


def buffer_of(store: ImageStore, device: torch.device) -> Buffer:
    """The store's pixels on a device, copied once for trainings at all sizes."""
    made = _buffers.setdefault(store, {})
    if device not in made:
        made[device] = Buffer.of(store, device)
    return made[device]


def prepared_images(store: ImageStore, crop: str, image_size: int, device: torch.device) -> PreparedImages:
    """The store's images for a crop and a size, made once; every subset and every training of a process shares it."""
    made = _prepared.setdefault(store, {})
    key = (crop, image_size, device)
    if key not in made:
        made[key] = PREPARED_BY_CROP[crop](store, image_size, device)
    return made[key]


def place_for(n_bytes: int, device: torch.device) -> torch.device:
    """The device where that many bytes take at most half of its free memory, else the host.

    Of what stays on the host only the part that a batch shows is copied.
    """
    if device.type != "cuda":
        return device
    # What earlier trainings left to torch's allocator is free as well, but for what their graphs hold.
    cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return device if n_bytes <= DEVICE_SHARE * free else torch.device("cpu")


class DeviceImages:
    """The images of a set as a model sees them, with labels counted from 0 within the trained classes.

    Args:
        classes: the labels that are trained on, sorted.
        dtype: what the model computes in.
        layout: memory format of batches; channels-last is how pixels are stored, and how GPUs compute.

    Attributes:
        labels: `(n,) int64` on the device.
    """

    def __init__(
        self,
        images: Examples,
        classes: Sequence[int],
        preprocessing: Preprocessing,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        images = self.images = images_of(images)
        self.preprocessing = preprocessing
        self.device, self.dtype, self.layout = device, dtype, layout
        size = preprocessing.image_size
        stored = preprocessing.stored_side
        if preprocessing.crop == "resized" and stored is not None and stored < stored_side(size):
            rule = f"its images are kept with a short side of {stored} px; load the data set for this size"
            raise InvalidValue("image_size", size, rule)
        self.prepared = prepared_images(images.store, preprocessing.crop, size, device)
        self.labels = torch.from_numpy(np.searchsorted(np.asarray(classes), images.labels)).to(device)
        # Over a row of pixels, channels fastest: long rows vectorize well.
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device).repeat(size) * 255
            for values in (preprocessing.mean, preprocessing.std)
        )
        self.scale, self.shift = 1 / std, -mean / std
        n = len(images)
        self._unaugmented = self._crops_of(
            augment.AugmentParams(self.prepared.unaugmented(images.sizes), np.zeros(n, dtype=bool))
        )

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, on_host: NDArray[np.int64] | None = None) -> Tensor:
        """Images at positions without augmentation: `(len(index), 3, size, size)`, normalized; grey is repeated.

        Args:
            on_host: the same positions, where they are known there; else the device is asked for them.
        """
        known = index.cpu().numpy() if on_host is None else on_host
        crops = self._unaugmented.part(index.to(self.prepared.place), known)
        return self._normalized(self.prepared.crop(crops, unaugmented=True))

    def batches(self, size: int) -> list[tuple[Tensor, Tensor]]:
        """All images in order without augmentation, resized once for all trainings that ask for them."""
        key = self.images.rows.tobytes()
        if key not in self.prepared.kept:
            self.prepared.kept[key] = self.prepared.crop(self._unaugmented, unaugmented=True)
        parts = zip(torch.split(self.prepared.kept[key], size), torch.split(self.labels, size), strict=True)
        return [(self._normalized(pixels), labels) for pixels, labels in parts]

    def epoch(self, seed: int, epoch: int, flip_probability: float) -> CropBatch:
        """Crop and flip of every image in one epoch of a training."""
        images, crop, size = self.images, self.preprocessing.crop, self.preprocessing.image_size
        drawn = augment.augment_params(crop, seed, epoch, images.ids, images.sizes, size, flip_probability)
        return self._crops_of(drawn)

    def augmented(self, crops: CropBatch, index: Tensor, on_host: NDArray[np.int64]) -> Tensor:
        """Images at positions (the same on device and host) as they look in an epoch, else as `batch`."""
        # Copying positions from the GPU that the host knows would synchronize in each step.
        here = torch.from_numpy(on_host) if self.prepared.place.type == "cpu" else index
        return self._normalized(self.prepared.crop(crops.part(here, on_host), unaugmented=False))

    def _crops_of(self, augment_params: augment.AugmentParams) -> CropBatch:
        arrays = (self.images.rows, augment_params.boxes, augment_params.flips)
        rows, boxes, flips = (torch.from_numpy(array).to(self.prepared.place) for array in arrays)
        return CropBatch(rows, boxes, flips, augment_params.boxes[:, 2:])

    def _normalized(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.device, non_blocking=True)
        rows = pixels.flatten(2).float()
        rows = torch.addcmul(self.shift, rows, self.scale, out=rows).to(self.dtype)
        x = rows.view(pixels.shape).permute(0, 3, 1, 2)
        if x.shape[1] != 3:
            x = x.expand(-1, 3, -1, -1)
        return x.contiguous(memory_format=self.layout)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a curriculum presents in a training.

    Attributes:
        ranking: `(n,) int64`, positions of the training examples from first to last.
        epochs: those of the training.
    """

    curriculum: Strategy
    ranking: NDArray[np.int64]
    epochs: int

    def examples(self, seed: int, epoch: int, steps: int, batch_size: int) -> NDArray[np.int64]:
        """`(steps * batch_size,)` positions that an epoch presents, batch by batch."""
        numbers, total = range(epoch * steps, (epoch + 1) * steps), self.epochs * steps
        return np.concatenate([self.curriculum.draw(self.ranking, batch_size, k, total, seed) for k in numbers])


class TrainBatches:
    """Shuffled, augmented batches; each pass over it is the next epoch.

    The last, smaller batch of an epoch is left out, as its batch-norm statistics would differ; where all
    examples are fewer than a batch they are one batch.

    Attributes:
        index: `(batch,) int64`, which examples the current batch holds.
    """

    def __init__(
        self,
        data: DeviceImages,
        batch_size: int,
        flip_probability: float,
        seed: int,
        lesson: Lesson | None = None,
    ) -> None:
        self.data, self.lesson = data, lesson
        self.presented = len(data) if lesson is None else lesson.curriculum.presented(len(data))
        self.batch_size = min(batch_size, self.presented)
        self.flip_probability = flip_probability
        self.seed = seed
        self.epoch = 0
        self.index = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return self.presented // self.batch_size

    @property
    def examples(self) -> int:
        """How many examples an epoch presents."""
        return len(self) * self.batch_size

    def sample(self) -> tuple[Tensor, Tensor]:
        """Some batch, for what only needs its shape; no epoch begins."""
        index = torch.arange(self.batch_size, device=self.data.device)
        return self.data.batch(index), self.data.labels[index]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        data, on_host = self.data, self._order()
        order = on_host.to(data.device)
        crops = data.epoch(self.seed, self.epoch, self.flip_probability)
        self.epoch += 1
        for step in range(len(self)):
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            self.index = order[part]
            yield data.augmented(crops, self.index, on_host[part].numpy()), data.labels[self.index]

    def _order(self) -> Tensor:
        """Positions of the examples of this epoch, batch by batch, on the host."""
        if self.lesson is not None:
            return torch.from_numpy(self.lesson.examples(self.seed, self.epoch, len(self), self.batch_size))
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "data", self.epoch))
        return torch.randperm(len(self.data), generator=generator)


class ValidBatches:
    """The validation examples in fixed order, prepared once."""

    def __init__(self, data: DeviceImages) -> None:
        self.batches = data.batches(VALID_BATCH)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)
