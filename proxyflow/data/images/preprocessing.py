"""How images reach a model, as one value that code for data of any kind hands on unread."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """How images reach a model.

    Attributes:
        image_size: side in pixels that images are brought to.
        crop: how training images are cropped, one of `augment.CROPS`.
        mean, std: per channel of the full training set, of pixels in 0..1, for normalization.
        stored_side: short side in pixels that larger images were reduced to before they were stored, see `reduce`;
            None where no image of the data set was.
    """

    image_size: int
    crop: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stored_side: int | None = None

    def at(self, image_size: int | None) -> Preprocessing:
        """The same at another size; None keeps the size."""
        return self if image_size is None else dataclasses.replace(self, image_size=image_size)
