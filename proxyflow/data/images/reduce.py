"""How large images are stored: reduced to what trainings of a size can use, or as they are where they are smaller.

A photo of 12 megapixels takes 36 MB of pixels, of which a training at 128 px sees less than one per cent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A quarter more than the training size, as in Imagenette's 160 px releases at 128: validation images are resized to
# 152 px and never enlarged, and neither are training crops of at least two thirds of the area.
STORED_OVER_TRAINED = 1.25
# Trainings at smaller sizes share one store, so that a study over sizes does not keep one for each.
SMALLEST_TRAINED = 128


def stored_side(image_size: int | None) -> int:
    """The longest that the short side of a stored image is, for trainings at sizes up to this one.

    Args:
        image_size: side in pixels; None is the data set's own, which is at most `SMALLEST_TRAINED`.
    """
    return round(STORED_OVER_TRAINED * max(image_size or 0, SMALLEST_TRAINED))


def reduced_sizes(sizes: NDArray[np.int32], side: int) -> NDArray[np.int32]:
    """`(n, 2)` heights and widths of images once their short side is at most `side`."""
    short = sizes.min(axis=1, keepdims=True, initial=2**31 - 1)
    reduced = np.rint(sizes * (side / short)).astype(np.int32)
    return np.where(short > side, reduced, sizes).astype(np.int32)


def reduce(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A `(height, width, 1 or 3)` image brought to a height and width, by Pillow's antialiased bilinear filter.

    It is the filter of crops (see `resize`) and of the published reduced releases; it counts in whole numbers, so that
    it gives the same on every machine.
    """
    from PIL import Image  # imports PIL

    if image.shape[:2] == size:
        return image
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    small = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.uint8).reshape(*size, image.shape[2])
