"""Smaller inputs: the side of the images in pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from proxyflow.core.settings import Number, setting
from proxyflow.proxies.reduction import Reduction, register_reduction


@register_reduction
@dataclass(frozen=True)
class Size(Reduction):
    """Inputs of side N, in training and in validation."""

    name = "size"
    summary = "inputs of N pixels a side, in training and in validation"
    helps = (
        "Costs about (N / side)^2 of the target, more where images are so small that other work decides. Keeps all "
        "optimizer steps."
    )
    family = "Smaller Inputs"
    source = "Zhou et al. 2020, EcoNAS, arXiv 2001.01233 (input resolution)"

    side: int = setting(dataclasses.MISSING, Number(low=1, whole=True, example="64"), "side in pixels", symbol="N")
