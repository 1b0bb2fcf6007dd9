"""Spaces for tests: an image classifier's, as a trainer declares it, and a large one with conditions."""

from __future__ import annotations

from typing import Any

from proxyflow.spaces.parameters import Categorical, Float, Int
from proxyflow.spaces.space import Space

IMAGES = Space(
    (
        Categorical("arch", choices=("xresnet50", "xresnet18", "xresnet34", "xresnet101"), default="xresnet50"),
        Float("learning_rate", 0, above=True, default=0.003, label="lr", group="learning-rate"),
        Int("stem_channels_1", 1, 1024, default=32, label="stem"),
        Int("stem_channels_2", 1, 1024, default=32, label="stem"),
        Float("flip_probability", 0, 1, default=0.5, label="flip"),
        Categorical("optimizer", choices=("adam", "sgd", "rmsprop"), default="adam", label="opt"),
        Float("label_smoothing", 0, 1, below=True, default=0.1, label="smooth"),
        Int("batch_size", 2, default=64, label="bs"),
        Float("weight_decay", 0, 1, default=0.01, label="wd"),
    )
)


def large_content() -> dict[str, Any]:
    """A space file's content: 40 parameters of every kind, some of which depend on others that depend on others."""
    content: dict[str, Any] = {
        "optimizer": ["adam", "sgd", "rmsprop"],
        "momentum": {"low": 0.8, "high": 0.99, "when": {"optimizer": ["sgd", "rmsprop"]}},
        "nesterov": {"choices": [True, False], "when": {"optimizer": "sgd"}},
        "nesterov_warmup": {"low": 1, "high": 10, "when": {"nesterov": [True]}},
        "layers": {"low": 1, "high": 8},
        "schedule": {"choices": ["cosine", "step"], "default": "cosine"},
        "milestones": {"low": 1, "high": 5, "when": {"schedule": ["step"], "layers": [2, 3, 4, 5, 6, 7, 8]}},
    }
    content |= {f"rate_{i}": {"low": 1e-5, "high": 1.0, "log": True} for i in range(8)}
    content |= {
        f"width_{i}": {"low": 16, "high": 128, "step": 16, "when": {"layers": list(range(i, 9))}} for i in range(1, 9)
    }
    content |= {f"share_{i}": {"low": 0.0, "high": 1.0, "step": 0.05, "default": 0.5} for i in range(8)}
    content |= {f"fixed_{i}": value for i, value in enumerate((3, "text", True, 0.5))}
    content |= {f"size_{i}": {"low": 1, "high": 4096, "log": True} for i in range(5)}
    assert len(content) == 40
    return content
