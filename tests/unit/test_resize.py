"""Both ways to crop and resize compute Pillow's filter; fastai's validation images are the same to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from proxyflow.data.images.batches import DeviceImages
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.resize import Buffer, cut_on_device, cut_on_host, one_by_one, resize_together
from proxyflow.data.images.store import ImageSet

CPU = torch.device("cpu")


def pictures(n: int, channels: int, low: int = 20, high: int = 120) -> ImageSet:
    """Smooth noise of many sizes, with hard edges."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(n):
        height, width = rng.integers(low, high, 2)
        small = rng.integers(0, 256, (6, 7, channels), dtype=np.uint8)
        planes = [
            Image.fromarray(small[:, :, c]).resize((int(width), int(height)), Image.Resampling.BICUBIC)
            for c in range(channels)
        ]
        image = np.stack([np.asarray(plane) for plane in planes], axis=2).copy()
        image[height // 3 : height // 2, width // 3 : width // 2] = 255
        images.append(image)
    return ImageSet.of(images, np.zeros(n, dtype=np.int64), np.arange(n, dtype=np.int64))


def all_at_once(
    images: ImageSet, boxes: torch.Tensor, flips: torch.Tensor, size: int, margin: int, reach: tuple[int, int]
) -> torch.Tensor:
    """What a GPU does, on a CPU."""
    parts = cut_on_device(Buffer.of(images.store, CPU), torch.arange(len(images)), boxes, reach)
    return resize_together(parts, boxes, flips, size, margin)


def random_boxes(images: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    boxes = []
    for height, width in images.sizes:
        tall, wide = rng.integers(height // 2, height + 1), rng.integers(width // 2, width + 1)
        boxes.append((rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1), tall, wide))
    return torch.tensor(np.array(boxes)), torch.from_numpy(rng.random(len(images)) < 0.5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "margin"), [(16, 0), (64, 0), (128, 0), (32, 4), (128, 12)])
def test_one_by_one_and_all_at_once_agree_with_each_other_and_with_pillow(
    channels: int, size: int, margin: int
) -> None:
    images = pictures(30, channels)
    boxes, flips = random_boxes(images)
    rows, reach = torch.arange(30), (int(boxes[:, 2].max()), int(boxes[:, 3].max()))
    one = one_by_one(images.store, rows, boxes, flips, size, margin)
    batch = all_at_once(images, boxes, flips, size, margin, reach)
    assert one.shape == batch.shape == (30, size, size, channels)
    assert int((one.int() - batch.int()).abs().max()) <= 1
    grid = size + 2 * margin
    for i in range(30):
        top, left, tall, wide = boxes[i].tolist()
        cut = images.image(i)[top : top + tall, left : left + wide]
        picture = Image.fromarray(cut[:, :, 0] if channels == 1 else cut).resize(
            (grid, grid), Image.Resampling.BILINEAR
        )
        wanted = np.asarray(picture).reshape(grid, grid, channels)[margin : margin + size, margin : margin + size]
        wanted = wanted[:, ::-1] if flips[i] else wanted
        assert np.abs(one[i].numpy().astype(int) - wanted).max() <= 1


def test_a_box_of_the_final_size_is_copied() -> None:
    images = pictures(1, 3, low=40, high=41)
    boxes = torch.tensor([[3, 5, 16, 16]])
    for way in (
        one_by_one(images.store, torch.arange(1), boxes, torch.tensor([False]), 16, 0),
        all_at_once(images, boxes, torch.tensor([False]), 16, 0, (16, 16)),
    ):
        assert np.array_equal(way[0].numpy(), images.image(0)[3:19, 5:21])


def test_cutting_on_the_host_gives_the_pixels_of_cutting_on_the_device() -> None:
    images = pictures(9, 3)
    boxes, flips = random_boxes(images)
    reach = (int(boxes[:, 2].max()), int(boxes[:, 3].max()))
    parts = cut_on_host(images.store, torch.arange(9), boxes, reach)
    assert torch.equal(resize_together(parts, boxes, flips, 32, 0), all_at_once(images, boxes, flips, 32, 0, reach))


def test_a_larger_reach_changes_nothing() -> None:
    images = pictures(5, 3)
    boxes, flips = random_boxes(images)
    reach = (int(boxes[:, 2].max()), int(boxes[:, 3].max()))
    near = all_at_once(images, boxes, flips, 32, 0, reach)
    far = all_at_once(images, boxes, flips, 32, 0, (reach[0] + 9, reach[1] + 30))
    assert int((near.int() - far.int()).abs().max()) <= 1


def test_validation_images_are_those_of_fastai() -> None:
    from fastai.vision.augment import RandomResizedCrop

    images = pictures(20, 3, low=150, high=260)
    crop = RandomResizedCrop(128, min_scale=0.35)
    theirs = []
    for i in range(20):
        picture = Image.fromarray(images.image(i))
        crop.before_call(picture, split_idx=1)
        theirs.append(np.asarray(crop.encodes(_pil_image(picture))))
    view = Preprocessing(128, "resized", (0.0,) * 3, (1.0,) * 3)
    ours = DeviceImages(images, (0,), view, CPU).batch(torch.arange(20)).permute(0, 2, 3, 1).numpy()
    difference = np.abs(ours - np.stack(theirs) / 255)
    assert difference.mean() < 0.002  # the limit is .01 of the range
    assert difference.max() < 0.012


def _pil_image(picture: Image.Image) -> Image.Image:
    from fastai.vision.core import PILImage

    return PILImage.create(np.asarray(picture))
