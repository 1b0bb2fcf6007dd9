"""The networks of timm, which is an extra."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.core.errors import InvalidValue
from proxyflow.trainers.images.libraries.downloads import HUB_FILES, downloaded, from_hub
from proxyflow.trainers.images.libraries.protocol import IMAGENET, Normalization

if TYPE_CHECKING:
    from torch import Tensor, nn


class Timm:
    """The networks of timm (https://github.com/huggingface/pytorch-image-models)."""

    # mobilenetv3_small_050: half of the channels.
    _WIDTH = re.compile(r"(?P<base>(?:mobilenet|mnasnet|semnasnet|lcnet|ghostnet|fbnetv3?)\w*_)(?P<percent>\d{3})")

    def names(self) -> Sequence[str]:
        timm = self._package()
        return tuple(timm.list_models())

    def make(self, name: str, n_classes: int, side: int | None) -> nn.Module:
        timm = self._package()
        config = timm.get_pretrained_cfg(name)
        # Transformers are made for one size; other networks take any, and have no such argument.
        sized = {"img_size": side} if side is not None and config is not None and config.fixed_input_size else {}
        try:
            network: nn.Module = timm.create_model(name, num_classes=n_classes, **sized)
        except TypeError:
            if not sized:
                raise
            network = timm.create_model(name, num_classes=n_classes)
        _check_patches(network, side)
        return network

    def multiplier(self, name: str) -> tuple[str, float] | None:
        found = self._WIDTH.fullmatch(name)
        return None if found is None else (found["base"], int(found["percent"]) / 100)

    def published(self, name: str) -> Path:
        config = self._package().get_pretrained_cfg(name)
        if config is None or not config.has_weights:
            raise InvalidValue("weights", "default", f"timm has no weights for {name}; take file:PATH or dir:PATH")
        if not config.hf_hub_id:
            return downloaded(config.url)
        return from_hub(config.hf_hub_id, [config.hf_hub_filename] if config.hf_hub_filename else HUB_FILES)

    def normalization(self, name: str) -> Normalization:
        config = self._package().get_pretrained_cfg(name)
        return IMAGENET if config is None else Normalization(tuple(config.mean), tuple(config.std))

    def adapted(self, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        # By timm's convention, the module of a network has the function that reads files of its family.
        adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        return dict(adapt(state, model)) if callable(adapt) else state

    def _package(self) -> Any:
        if find_spec("timm") is None:
            rule = "the package timm is not installed; install the extra: pip install 'proxyflow[timm]'"
            raise InvalidValue("arch", "timm/", rule)
        import timm

        return timm


def _check_patches(network: nn.Module, side: int | None) -> None:
    """Refuses sides that patches do not divide, of which timm's transformers would leave out a border."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if side is not None and isinstance(patch, tuple) and side % patch[0]:
        raise ValueError(f"its patches have a side of {patch[0]}, which does not divide {side}")
