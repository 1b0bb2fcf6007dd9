"""The image classifiers of torchvision."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.trainers.images.libraries.downloads import downloaded
from proxyflow.trainers.images.libraries.protocol import Normalization

if TYPE_CHECKING:
    from torch import Tensor, nn


class Torchvision:
    """The image classifiers of torchvision (https://docs.pytorch.org/vision/stable/models.html)."""

    # shufflenet_v2_x0_5 and mnasnet0_5: half of the channels.
    _WIDTH = re.compile(r"(?P<base>shufflenet_v2_x|mnasnet)(?P<whole>\d)_(?P<part>\d+)")
    # What the classes of networks that are made for one size call it.
    _SIZED: Mapping[str, Callable[[int], dict[str, Any]]] = {
        "vit_": lambda side: {"image_size": side},
        "maxvit": lambda side: {"input_size": (side, side)},
    }
    # These have a second classifier that only training uses.
    _AUXILIARY: Mapping[str, Any] = {"aux_logits": False, "init_weights": True}
    _WITH_AUXILIARY = ("googlenet", "inception_v3")

    def names(self) -> Sequence[str]:
        from torchvision import models  # imports torch

        return tuple(models.list_models(module=models))

    def make(self, name: str, n_classes: int, side: int | None) -> nn.Module:
        from torchvision import models  # imports torch

        options = dict(self._AUXILIARY) if name in self._WITH_AUXILIARY else {}
        for beginning, sized in self._SIZED.items():
            if side is not None and name.startswith(beginning):
                options |= sized(side)
        network: nn.Module = models.get_model(name, weights=None, num_classes=n_classes, **options)
        return network

    def multiplier(self, name: str) -> tuple[str, float] | None:
        found = self._WIDTH.fullmatch(name)
        return None if found is None else (found["base"], float(f"{found['whole']}.{found['part']}"))

    def published(self, name: str) -> Path:
        return downloaded(self._weights(name).url)

    def normalization(self, name: str) -> Normalization:
        preset = self._weights(name).transforms()
        return Normalization(tuple(preset.mean), tuple(preset.std))

    def adapted(self, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings  # imports torch

        if isinstance(model, VisionTransformer):
            return dict(interpolate_embeddings(model.image_size, model.patch_size, OrderedDict(state)))
        return state

    def _weights(self, name: str) -> Any:
        from torchvision import models  # imports torch

        return models.get_model_weights(name).DEFAULT
