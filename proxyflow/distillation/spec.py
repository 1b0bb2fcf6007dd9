"""A distillation as a value: planning a study needs it, and not the code that learns images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from proxyflow.distillation.methods import Method


@dataclass(frozen=True)
class DistillationSpec:
    """One distillation of a data set.

    Attributes:
        images_per_class: of a class with fewer real examples, as many as it has.
        image_size: side in pixels of the images, None is the one that the data set is trained on at.
        seed: of the real images that it begins with, of networks, augmentation and batches.
    """

    images_per_class: int
    method: Method
    image_size: int | None = None
    seed: int = 0

    def described(self, image_size: int) -> dict[str, Any]:
        """All that determines the images, for a data set that is trained on at `image_size`."""
        return {
            "images_per_class": self.images_per_class,
            "method": self.method.name,
            "settings": asdict(self.method),
            "image_size": self.image_size or image_size,
            "seed": self.seed,
        }
