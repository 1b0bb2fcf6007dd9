"""The specification of a distillation, which planning a study needs without the code that learns images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from proxyflow.core.errors import InvalidValue
from proxyflow.strategies import Distilled, Strategy
from proxyflow.strategies.distillation_methods import Method
from proxyflow.trainers import ImageTrainer, Trainer


@dataclass(frozen=True)
class DistillationSpec:
    """One distillation of a data set.

    Attributes:
        images_per_class: number of images per class; a class with fewer real examples gets that many.
        method: the method with its settings.
        image_size: side of the images in pixels; None for the training size of the data set.
        seed: root of all random streams.
    """

    images_per_class: int
    method: Method
    image_size: int | None = None
    seed: int = 0

    def to_dict(self, image_size: int) -> dict[str, Any]:
        """Everything that determines the images, for a data set whose training size is `image_size`."""
        return {
            "images_per_class": self.images_per_class,
            "method": self.method.name,
            "settings": asdict(self.method),
            "image_size": self.image_size or image_size,
            "seed": self.seed,
        }


def spec_for(strategy: Strategy, trainer: Trainer) -> DistillationSpec:
    """The distillation that makes a strategy's images: once for all seeds, with seed 0, at the trainer's image size.

    Raises:
        InvalidValue: the trainer does not train on images.
    """
    assert isinstance(strategy, Distilled)
    if not isinstance(trainer, ImageTrainer):
        rule = f"it makes synthetic images, which trainer={trainer.name} cannot train on; use trainer=images"
        raise InvalidValue("strategy", strategy.canonical, rule)
    return DistillationSpec(strategy.count, strategy.made_by(), trainer.image_size)
