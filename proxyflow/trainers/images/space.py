"""The image trainer's hyperparameters, with the defaults of Shleifer & Prokop 2019, section 3.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxyflow.core.settings import Choice
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.parameters import Categorical, Float, Int
from proxyflow.spaces.space import Space
from proxyflow.trainers.images.architectures import architectures
from proxyflow.trainers.images.libraries import SEPARATOR, libraries, network_of
from proxyflow.trainers.images.weights import DEFAULT as DEFAULT_WEIGHTS
from proxyflow.trainers.images.weights import NONE as NO_WEIGHTS
from proxyflow.trainers.images.weights import WeightsName

LEARNING_RATE_GROUP = "learning-rate"
OPTIMIZERS = ("adam", "sgd", "rmsprop")


@dataclass(frozen=True)
class NetworkName(Choice):
    """The rule of `arch`: a registered architecture, or a library's network."""

    def parse(self, name: str, value: object) -> str:
        text = str(value)
        if SEPARATOR not in text:
            return super().parse(name, value)
        network_of(text)  # refuses unknown ones
        return text


@dataclass(frozen=True)
class OpenChoice(Categorical):
    """One of a few values, or other text that a rule accepts.

    Attributes:
        takes: the rule.
    """

    takes: Choice = field(kw_only=True)

    @property
    def rule(self) -> Choice:
        return self.takes

    def parse(self, value: object) -> str:
        return self.takes.parse(self.name, value)


# Only networks of our own have a stem that is configured; those of libraries have theirs.
OWN: Mapping[str, tuple[str, ...]] = {"arch": tuple(architectures)}

IMAGE_SPACE = Space(
    (
        OpenChoice(
            "arch",
            choices=OWN["arch"],
            takes=NetworkName((*OWN["arch"], *(f"{library}{SEPARATOR}NAME" for library in libraries))),
            default="xresnet50",
            help="network: XResNet as in fastai, of which -w16 have a quarter of the width, for small images and CPUs; "
            "or any classifier of timm or torchvision, such as timm/resnet18",
        ),
        Float(
            "learning_rate",
            low=0,
            above=True,
            default=0.003,
            label="lr",
            group=LEARNING_RATE_GROUP,
            help="maximum learning rate of the one-cycle schedule",
        ),
        Int(
            "stem_channels_1",
            low=1,
            high=1024,
            default=32,
            label="stem",
            when=OWN,
            help="output channels of the stem's first convolution",
        ),
        Int(
            "stem_channels_2",
            low=1,
            high=1024,
            default=32,
            label="stem",
            when=OWN,
            help="output channels of the stem's second convolution",
        ),
        Float(
            "flip_probability",
            low=0,
            high=1,
            default=0.5,
            label="flip",
            help="probability of a horizontal flip in training",
        ),
        Categorical(
            "optimizer",
            choices=OPTIMIZERS,
            default="adam",
            label="opt",
            help="optimizer; all have decoupled weight decay",
        ),
        Float(
            "label_smoothing",
            low=0,
            high=1,
            below=True,
            default=0.1,
            label="smooth",
            help="label smoothing of the training loss",
        ),
        Int("batch_size", low=2, default=64, label="bs", help="batch size; a smaller subset is one batch"),
        Float(
            "weight_decay",
            low=0,
            high=1,
            default=0.01,
            label="wd",
            help="decoupled weight decay, except on norms and biases",
        ),
        OpenChoice(
            "weights",
            choices=(NO_WEIGHTS, DEFAULT_WEIGHTS),
            takes=WeightsName((NO_WEIGHTS, DEFAULT_WEIGHTS, "file:PATH", "dir:PATH", "run:RUN_ID")),
            default=NO_WEIGHTS,
            silent=True,
            help="initial weights, but for the classifier: none is random, default is what the library of the network "
            "publishes, run is a run with save_model=true",
        ),
        Float(
            "freeze",
            low=0,
            high=1,
            default=0.0,
            silent=True,
            help="fraction of the layers, from the input, that stay as they are; 1 trains the classifier alone",
        ),
    )
)


def image_configuration(**changes: Any) -> Configuration:
    """The default configuration with some hyperparameters changed.

    Raises:
        InvalidValue: a value is not accepted, or the hyperparameter does not exist.

    Example:
        >>> image_configuration(learning_rate=0.01, stem_channels_1=4).name
        'lr=0.01,stem=4-32'
    """
    return IMAGE_SPACE.configuration(changes)
