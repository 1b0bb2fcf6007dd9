"""What holds for every trainer: the built-in ones, in each of their engines, and one of another package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from proxyflow_example.trainers import Surface

from proxyflow.spaces.metric import Metric
from proxyflow.testing import Check, trainer_checks
from proxyflow.trainers import FunctionTrainer, ImageTrainer, ProgramTrainer, Trainer, trainers
from proxyflow.trainers.images.engine import engines

SMALL = {"arch": "xresnet10-w16", "batch_size": 16}
SUPPORT = Path(__file__).parents[1] / "support"
LOSS = Metric("valid_loss", "minimize")
# Small ones of libraries, with batch norm, layer norm and attention, dropout and stochastic depth.
LIBRARIES = (
    "timm/test_efficientnet",
    "timm/test_vit",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/mobilenet_v3_small",
)
TRIED: list[tuple[str, Trainer, dict[str, Any]]] = [
    *((arch, ImageTrainer(image_size=16, precision="fp32"), {"arch": arch, "batch_size": 32}) for arch in LIBRARIES),
    *((f"images-{engine}", ImageTrainer(image_size=8, precision="fp32", engine=engine), SMALL) for engine in engines),
    ("surface", Surface(), {"width": 0.5, "kind": "deep"}),
    (
        "program",
        ProgramTrainer(
            f"{sys.executable} programs/fit.py --train {{train}} --width {{width}} --epochs {{epochs}} --seed {{seed}}",
            reported=LOSS,
            folder=SUPPORT,
        ),
        {"width": 0.5},
    ),
    ("function", FunctionTrainer("user_functions:fit", LOSS, folder=SUPPORT), {"width": 0.5}),
]
CHECKS = [(name, check) for name, trainer, values in TRIED for check in trainer_checks(trainer, values)]


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=[f"{name}-{check}" for name, check in CHECKS])
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def test_every_built_in_trainer_is_tried() -> None:
    classes = {type(trainer) for _, trainer, _ in TRIED}
    assert classes >= {cls for name, cls in trainers.items() if not trainers.origin(name)}
