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

from proxyflow.data import augment
from proxyflow.data.images import ImageSet, ImageStore
from proxyflow.data.resize import Buffer, cut_on_device, cut_on_host, one_by_one, resize_together
from proxyflow.seeds import stream_seed

VALID_BATCH = 256
RESIZED_TOGETHER = 4096

# Pixels that are cut out in one step on a device, some 150 bytes each meanwhile.
CUT_TOGETHER = 2**22

# A store lives on the device if it takes at most this share of the memory that is free there.
DEVICE_SHARE = 0.5

# Validation images are brought to so much more than the training size, of which the middle is kept (fastai's
# RandomResizedCrop, val_xtra).
VALID_EXTRA = 0.14


@dataclass(frozen=True)
class View:
    """How images reach a model.

    Attributes:
        image_size: side in pixels.
        crop: one of `augment.CROPS`.
        mean, std: per channel in 0..1.
    """

    image_size: int
    crop: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """Which images are shown how, in the place where the pixels are.

    Attributes:
        rows: `(n,) int64`, images of the store.
        boxes: `(n, 4) int64`, see `augment.Looks`.
        flips: `(n,) bool`.
        sides: `(n, 2) int64`, heights and widths of the boxes on the host: asking a device for them would wait for it.
    """

    rows: Tensor
    boxes: Tensor
    flips: Tensor
    sides: NDArray[np.int64]

    def part(self, index: Tensor, on_host: NDArray[np.int64]) -> Shown:
        """Some of them; the same positions are given in both places."""
        return Shown(self.rows[index], self.boxes[index], self.flips[index], self.sides[on_host])

    @property
    def reach(self) -> tuple[int, int]:
        """Height and width that no box exceeds."""
        height, width = self.sides.max(axis=0, initial=1)
        return int(height), int(width)

    def split(self) -> list[Shown]:
        """Parts that are small enough to be cut out together."""
        height, width = self.reach
        together = max(1, CUT_TOGETHER // (height * width))
        if len(self.rows) <= together:
            return [self]
        ranges = range(0, len(self.rows), together)
        parts = (slice(begin, begin + together) for begin in ranges)
        return [Shown(self.rows[p], self.boxes[p], self.flips[p], self.sides[p]) for p in parts]


class Canvas(Protocol):
    """A store's images, ready to be shown at one size.

    Attributes:
        place: where its pixels are; the device, or the host where they do not fit.
        kept: pixels that every training asks for again (its validation images), by which images they are.
    """

    place: torch.device
    kept: dict[bytes, Tensor]

    def plain(self, sizes: NDArray[np.int32]) -> NDArray[np.int64]:
        """`(n, 4)` boxes that show images of these sizes without augmentation."""
        ...

    def show(self, shown: Shown, plain: bool) -> Tensor:
        """`(b, size, size, channels) uint8`, on the device or in `place`."""
        ...


class PaddedCanvas:
    """Images resized and padded beforehand, so that a crop of them only has to be copied."""

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

    def plain(self, sizes: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.tile([self.padding, self.padding, self.size, self.size], (len(sizes), 1))

    def show(self, shown: Shown, plain: bool) -> Tensor:
        if plain:  # one place for all: whole rows of pixels are copied, not one by one
            inner = slice(self.padding, self.padding + self.size)
            return self.pixels[:, inner, inner][shown.rows]
        steps = torch.arange(self.size, device=self.place)
        ys = shown.boxes[:, 0, None] + steps
        xs = shown.boxes[:, 1, None] + torch.where(shown.flips[:, None], steps.flip(0), steps)
        return self.pixels[shown.rows[:, None, None], ys[:, :, None], xs[:, None]]


class NativeCanvas:
    """Images at their native sizes, resized as they are shown."""

    def __init__(self, store: ImageStore, image_size: int, device: torch.device) -> None:
        self.size = image_size
        self.kept: dict[bytes, Tensor] = {}
        self.margin = math.ceil(image_size * VALID_EXTRA / 8) * 8 // 2
        self.device, self.place = device, place_for(len(store.pixels), device)
        self.one_by_one = device.type == "cpu"
        # The canvas is kept with its store, so it must not keep the store.
        self.store = weakref.proxy(store)
        self.buffer = None if self.place.type == "cpu" else buffer_of(store, self.place)

    def plain(self, sizes: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.concatenate([np.zeros_like(sizes), sizes], axis=1).astype(np.int64)

    def show(self, shown: Shown, plain: bool) -> Tensor:
        margin = self.margin if plain else 0
        if self.one_by_one:
            return one_by_one(self.store, shown.rows, shown.boxes, shown.flips, self.size, margin)
        return torch.cat([self._together(part, margin) for part in shown.split()])

    def _together(self, shown: Shown, margin: int) -> Tensor:
        # Wherever the store is, the device does the arithmetic: how full it is must not show in the pixels.
        if self.buffer is not None:
            parts = cut_on_device(self.buffer, shown.rows, shown.boxes, shown.reach)
        else:
            parts = cut_on_host(self.store, shown.rows, shown.boxes, shown.reach).to(self.device)
        boxes, flips = shown.boxes.to(self.device), shown.flips.to(self.device)
        return resize_together(parts, boxes, flips, self.size, margin)


CANVASES: dict[str, type[PaddedCanvas] | type[NativeCanvas]] = {"padded": PaddedCanvas, "resized": NativeCanvas}

# What was made of a store goes away with it.
_canvases: WeakKeyDictionary[ImageStore, dict[tuple[str, int, torch.device], Canvas]] = WeakKeyDictionary()
_buffers: WeakKeyDictionary[ImageStore, dict[torch.device, Buffer]] = WeakKeyDictionary()


def buffer_of(store: ImageStore, device: torch.device) -> Buffer:
    """The store's pixels on a device, copied once for canvases of all sizes."""
    made = _buffers.setdefault(store, {})
    if device not in made:
        made[device] = Buffer.of(store, device)
    return made[device]


def canvas_of(store: ImageStore, crop: str, image_size: int, device: torch.device) -> Canvas:
    """The store's canvas, made once; every subset and every training of a process shares it."""
    made = _canvases.setdefault(store, {})
    key = (crop, image_size, device)
    if key not in made:
        made[key] = CANVASES[crop](store, image_size, device)
    return made[key]


def place_for(n_bytes: int, device: torch.device) -> torch.device:
    """The device where that many bytes take at most half of its free memory, else the host.

    Of what stays on the host only the part that a batch shows is copied.
    """
    if device.type != "cuda":
        return device
    # What earlier trainings left to torch's allocator is free as well, but for what their graphs hold.
    torch.cuda.empty_cache()
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
        images: ImageSet,
        classes: Sequence[int],
        view: View,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self.images, self.view, self.device, self.dtype, self.layout = images, view, device, dtype, layout
        self.canvas = canvas_of(images.store, view.crop, view.image_size, device)
        self.labels = torch.from_numpy(np.searchsorted(np.asarray(classes), images.labels)).to(device)
        # Over a row of pixels, channels fastest: long rows are what vector instructions like.
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device).repeat(view.image_size) * 255
            for values in (view.mean, view.std)
        )
        self.scale, self.shift = 1 / std, -mean / std
        n = len(images)
        self._plain = self._shown(augment.Looks(self.canvas.plain(images.sizes), np.zeros(n, dtype=bool)))

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, on_host: NDArray[np.int64] | None = None) -> Tensor:
        """Images at positions without augmentation: `(len(index), 3, size, size)`, normalised; grey is repeated.

        Args:
            on_host: the same positions, where they are known there; else the device is asked for them.
        """
        known = index.cpu().numpy() if on_host is None else on_host
        shown = self._plain.part(index.to(self.canvas.place), known)
        return self._normalised(self.canvas.show(shown, plain=True))

    def batches(self, size: int) -> list[tuple[Tensor, Tensor]]:
        """All images in order without augmentation, resized once for all trainings that ask for them."""
        key = self.images.rows.tobytes()
        if key not in self.canvas.kept:
            self.canvas.kept[key] = self.canvas.show(self._plain, plain=True)
        parts = zip(torch.split(self.canvas.kept[key], size), torch.split(self.labels, size), strict=True)
        return [(self._normalised(pixels), labels) for pixels, labels in parts]

    def epoch(self, seed: int, epoch: int, flip_probability: float) -> Shown:
        """How every image looks in one epoch of a training."""
        view = self.view
        drawn = augment.looks(
            view.crop, seed, epoch, self.images.example_ids, self.images.sizes, view.image_size, flip_probability
        )
        return self._shown(drawn)

    def augmented(self, shown: Shown, index: Tensor, on_host: NDArray[np.int64]) -> Tensor:
        """Images at positions (the same on device and host) as they look in an epoch, else as `batch`."""
        # Asking a GPU for positions that the host knows would make each step wait for it.
        here = torch.from_numpy(on_host) if self.canvas.place.type == "cpu" else index
        return self._normalised(self.canvas.show(shown.part(here, on_host), plain=False))

    def _shown(self, looks: augment.Looks) -> Shown:
        arrays = (self.images.rows, looks.boxes, looks.flips)
        rows, boxes, flips = (torch.from_numpy(array).to(self.canvas.place) for array in arrays)
        return Shown(rows, boxes, flips, looks.boxes[:, 2:])

    def _normalised(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.device, non_blocking=True)
        rows = pixels.flatten(2).float()
        rows = torch.addcmul(self.shift, rows, self.scale, out=rows).to(self.dtype)
        x = rows.view(pixels.shape).permute(0, 3, 1, 2)
        if x.shape[1] != 3:
            x = x.expand(-1, 3, -1, -1)
        return x.contiguous(memory_format=self.layout)


class TrainBatches:
    """Shuffled, augmented batches; each pass over it is the next epoch.

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

    @property
    def examples(self) -> int:
        """How many examples an epoch shows."""
        return len(self) * self.batch_size

    def sample(self) -> tuple[Tensor, Tensor]:
        """Some batch, for what only needs its shape; no epoch begins."""
        index = torch.arange(self.batch_size, device=self.data.device)
        return self.data.batch(index), self.data.labels[index]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        data = self.data
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "data", self.epoch))
        on_host = torch.randperm(len(data), generator=generator)
        order = on_host.to(data.device)
        shown = data.epoch(self.seed, self.epoch, self.flip_probability)
        self.epoch += 1
        for step in range(len(self)):
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            self.index = order[part]
            yield data.augmented(shown, self.index, on_host[part].numpy()), data.labels[self.index]


class ValidBatches:
    """The validation examples in fixed order, prepared once."""

    def __init__(self, data: DeviceImages) -> None:
        self.batches = data.batches(VALID_BATCH)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)
