"""Crops of images resized to one size: one function, computed image by image on a CPU and in one batch elsewhere.

Both compute Pillow's antialiased bilinear filter (a triangle as wide as the reduction), and agree to rounding;
`tests/unit/test_resize.py` holds them to each other and to Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from proxyflow.data.images.store import ImageStore


@dataclass(frozen=True, eq=False)
class Buffer:
    """A store's pixels on a device.

    Attributes:
        pixels: `(bytes,) uint8`.
        offsets: `(n,) int64`.
        widths: `(n,) int64`, of the stored images.
        channels: 1 or 3.
    """

    pixels: Tensor
    offsets: Tensor
    widths: Tensor
    channels: int

    @staticmethod
    def of(store: ImageStore, device: torch.device) -> Buffer:
        """Copies a store to a device."""
        arrays = (store.pixels, store.offsets, store.sizes[:, 1].astype(np.int64))
        pixels, offsets, widths = (torch.from_numpy(array).to(device) for array in arrays)
        return Buffer(pixels, offsets, widths, store.channels)


def one_by_one(store: ImageStore, rows: Tensor, boxes: Tensor, flips: Tensor, size: int, margin: int) -> Tensor:
    """Cuts a box out of each image and brings it to `(size, size)`, by torch's kernel for bytes.

    It wins on a CPU because it touches each pixel once.

    Args:
        rows: `(b,) int64`, images of the store.
        boxes: `(b, 4) int64`, top, left, height, width.
        flips: `(b,) bool`, mirrored left to right afterwards.
        margin: the box is brought to `size + 2 * margin`, of which the middle is kept.

    Returns:
        `(b, size, size, channels) uint8`.
    """
    grid = size + 2 * margin
    result = torch.empty(len(rows), size, size, store.channels, dtype=torch.uint8)
    columns = zip(result, rows.tolist(), boxes.tolist(), flips.tolist(), strict=True)
    for target, row, (top, left, height, width), flip in columns:
        lines = torch.from_numpy(store.lines(row, top, height))[None]
        # In this order torch sees that channels come last, and takes its fast way.
        part = lines[:, :, left : left + width].permute(0, 3, 1, 2)
        shown = F.interpolate(part, size=(grid, grid), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
        if margin:
            shown = shown[margin : margin + size, margin : margin + size]
        target.copy_(shown.flip(1) if flip else shown)
    return result


def cut_on_device(buffer: Buffer, rows: Tensor, boxes: Tensor, reach: tuple[int, int]) -> Tensor:
    """The boxes of images in one gather: `(b, *reach, channels) uint8`.

    Args:
        reach: height and width that no box exceeds, known without asking the device; what is beyond a box is undefined.
    """
    device = buffer.pixels.device
    top, left, height, width = (boxes[:, column, None] for column in range(4))
    ys, xs = (torch.arange(side, device=device)[None] for side in reach)
    ys, xs = top + ys.minimum(height - 1), left + xs.minimum(width - 1)
    strides = buffer.widths[rows][:, None, None]
    pixel = buffer.offsets[rows][:, None, None] + (ys[:, :, None] * strides + xs[:, None]) * buffer.channels
    return buffer.pixels[pixel[..., None] + torch.arange(buffer.channels, device=device)]


def cut_on_host(store: ImageStore, rows: Tensor, boxes: Tensor, reach: tuple[int, int]) -> Tensor:
    """As `cut_on_device`, for a store that does not fit there."""
    parts = torch.zeros(len(rows), *reach, store.channels, dtype=torch.uint8)
    for target, row, (top, left, height, width) in zip(parts, rows.tolist(), boxes.tolist(), strict=True):
        lines = torch.from_numpy(store.lines(row, top, height))
        target[:height, :width] = lines[:, left : left + width]
    return parts


def resize_together(parts: Tensor, boxes: Tensor, flips: Tensor, size: int, margin: int) -> Tensor:
    """What `one_by_one` does to boxes, by two batched matrix products, for devices that are slow to start a kernel.

    Args:
        parts: `(b, reach, reach, channels) uint8`, what `cut_on_device` gives.
        boxes, flips, size, margin: as of `one_by_one`.
    """
    reach, channels = parts.shape[1:3], parts.shape[3]
    vertical = filter_matrix(boxes[:, 2, None], reach[0], size, margin)
    horizontal = filter_matrix(boxes[:, 3, None], reach[1], size, margin)
    horizontal = torch.where(flips[:, None, None], horizontal.flip(1), horizontal)
    # In TF32, which a training may compute its other products in, pixels would be rounded another way.
    exact = torch.float64 if torch.backends.cuda.matmul.fp32_precision == "tf32" else torch.float32
    vertical, horizontal = vertical.to(exact), horizontal.to(exact)
    rows_done = torch.bmm(vertical, parts.to(exact).flatten(2)).view(len(parts), size, reach[1], channels)
    shown = torch.einsum("bxw,bywc->byxc", horizontal, rows_done)
    return shown.round_().clamp_(0, 255).to(torch.uint8)


def filter_matrix(lengths: Tensor, reach: int, size: int, margin: int) -> Tensor:
    """`(b, size, reach) float32`: the weight of each of a box's pixels in each pixel that is shown, 0 beyond the box.

    Args:
        lengths: `(b, 1) int64`, side of each box.
    """
    scale = lengths.float() / (size + 2 * margin)
    width = scale.clamp(min=1)
    shown = torch.arange(margin, margin + size, device=lengths.device)[None, :, None]
    centres = (shown + 0.5) * scale[:, :, None]
    places = torch.arange(reach, device=lengths.device)[None, None]
    weights = (1 - ((places + 0.5 - centres) / width[:, :, None]).abs()).clamp(min=0)
    weights = weights * (places < lengths[:, :, None])
    return weights / weights.sum(dim=2, keepdim=True)
