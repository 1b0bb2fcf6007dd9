"""What is searched over, and what stays fixed in a search: specs that carry their own rules and names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from proxyflow.errors import InvalidValue
from proxyflow.settings import Choice, Number, OptionalValue, normalise, setting, settings_of
from proxyflow.training.architectures import ARCHITECTURES


@dataclass(frozen=True)
class Hyperparameters:
    """One configuration (Shleifer & Prokop 2019, section 3.2); the defaults are the paper's.

    `label` in a field's metadata is its name in configuration names; `grid` holds the published values.
    """

    arch: str = setting(
        "xresnet50",
        Choice(tuple(ARCHITECTURES)),
        "network, fastai's XResNet; those in -w16 are a quarter as wide, for small images and CPUs",
        label="arch",
        grid=("xresnet50", "xresnet18", "xresnet101"),
    )
    learning_rate: float = setting(
        0.003,
        Number(low=0, above=True, example="0.003"),
        "highest learning rate of the one-cycle schedule",
        label="lr",
        grid=(0.001, 0.003, 0.007, 0.01, 0.1),
    )
    stem_channels_1: int = setting(
        32,
        Number(low=1, high=1024, whole=True, example="32"),
        "output channels of the stem's first convolution",
        label="stem",
        grid=(4, 32, 48),
    )
    stem_channels_2: int = setting(
        32,
        Number(low=1, high=1024, whole=True, example="32"),
        "output channels of the stem's second convolution",
        label="stem",
        grid=(4, 32, 48),
    )
    flip_probability: float = setting(
        0.5,
        Number(low=0, high=1, example="0.5"),
        "chance that a training image is flipped left to right",
        label="flip",
        grid=(0.0, 0.25, 0.5),
    )
    optimizer: str = setting(
        "adam",
        Choice(("adam", "sgd", "rmsprop")),
        "optimizer, all with decoupled weight decay",
        label="opt",
        grid=("adam", "sgd", "rmsprop"),
    )
    label_smoothing: float = setting(
        0.1,
        Number(low=0, high=1, below=True, example="0.1"),
        "share of the target that is spread evenly over all classes in training",
        label="smooth",
        grid=(0.0, 0.1),
    )

    def __post_init__(self) -> None:
        normalise(self)

    @property
    def differences(self) -> dict[str, Any]:
        """The settings that are not at their default, in the order of declaration."""
        return {
            field.name: getattr(self, field.name)
            for field in settings_of(self)
            if getattr(self, field.name) != field.default
        }

    @property
    def name(self) -> str:
        """`default`, or the differences from the default: `arch=xresnet18,lr=0.01,stem=4-32`."""
        parts: dict[str, str] = {}
        for field in settings_of(self):
            if field.name not in self.differences:
                continue
            label = field.metadata["label"]
            # The two stem widths are one difference: both are written where either differs.
            parts[label] = (
                f"{self.stem_channels_1}-{self.stem_channels_2}"
                if label == "stem"
                else f"{getattr(self, field.name):.12g}"
                if isinstance(field.default, float)
                else str(getattr(self, field.name))
            )
        return ",".join(f"{label}={value}" for label, value in parts.items()) or "default"

    @classmethod
    def from_name(cls, name: str) -> Hyperparameters:
        """The configuration that has this name.

        Raises:
            InvalidValue: it is no configuration's name, or a value in it breaks its rule.

        Example:
            >>> Hyperparameters.from_name("lr=0.01,stem=4-32").stem_channels_1
            4
        """
        values: dict[str, Any] = {}
        for part in name.split(",") if name != "default" else ():
            label, _, text = part.partition("=")
            fields = [field for field in settings_of(cls) if field.metadata["label"] == label]
            texts = text.split("-") if len(fields) > 1 else [text]
            if not fields or len(texts) != len(fields) or fields[0].name in values:
                known = ", ".join(dict.fromkeys(field.metadata["label"] for field in settings_of(cls)))
                rule = f"it must be default, or differences such as lr=0.01,stem=4-32, each once, of {known}"
                raise InvalidValue("config", name, rule)
            values |= {field.name: value for field, value in zip(fields, texts, strict=True)}
        return cls(**values)

    @property
    def group(self) -> str:
        """`learning-rate` where the configuration changes the learning rate, `other` elsewhere."""
        return "learning-rate" if "learning_rate" in self.differences else "other"


AUTO = "auto"


@dataclass(frozen=True)
class TrainingSettings:
    """What a study holds fixed over its configurations."""

    epochs: int = setting(20, Number(low=1, whole=True, example="20"), "passes over the training examples")
    batch_size: int = setting(
        64, Number(low=2, whole=True, example="64"), "examples per step; a smaller subset is one batch"
    )
    image_size: int | None = setting(
        None,
        OptionalValue(Number(low=8, high=2048, whole=True, example="128"), AUTO),
        "side in pixels that images are brought to; auto is the data set's own, or what synthetic images were made at",
        word=AUTO,
    )
    weight_decay: float = setting(
        0.01, Number(low=0, high=1, example="0.01"), "decoupled weight decay; none on norms and biases"
    )
    precision: str = setting(
        AUTO,
        Choice((AUTO, "fp32", "fp16", "bf16")),
        "arithmetic of forward and backward passes; auto is fp16 on a GPU; on a CPU bf16 from 64-pixel images on, "
        "where the processor has it, else fp32",
    )

    def __post_init__(self) -> None:
        normalise(self)

    def replace(self, **changes: Any) -> TrainingSettings:
        """A copy with other settings."""
        return dataclasses.replace(self, **changes)
