"""Any network can be trained: a plain module, without any of the structure that the built-in ones share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from image_training import CPU, copied, few_digits, losses, spec_of, train, untimed
from torch import Tensor, nn

from proxyflow.core.errors import UserError
from proxyflow.scoring.scorer import score_examples
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.parameters import Categorical
from proxyflow.spaces.space import Space
from proxyflow.trainers import TrainingSpec
from proxyflow.trainers.images.architectures import architectures
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
from proxyflow.trainers.images.engine import engines
from proxyflow.trainers.images.models import build_model, classifier_of, embeddings_of, flops_per_example
from proxyflow.trainers.images.optimizers import OPTIMIZERS, split_parameters
from proxyflow.trainers.images.space import IMAGE_SPACE

WIDTH, PATCH = 12, 4


class Patches(nn.Module):
    """A mixer of 4 patches of 4 x 4 pixels, with parameters of every kind, some of no use or not to be trained."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.places = nn.Embedding(4, WIDTH)
        self.norm = nn.LayerNorm((4, WIDTH))  # its weight is a matrix
        self.scale = nn.Parameter(torch.ones(()))
        self.fixed = nn.Parameter(torch.randn(WIDTH, WIDTH), requires_grad=False)
        self.unused = nn.Parameter(torch.randn(3, 3))
        self.hidden = nn.Linear(4 * WIDTH, 16)
        self.head = nn.Linear(16, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.project(x).flatten(2).transpose(1, 2) + self.places.weight
        mixed = self.norm(tokens @ self.fixed) * self.scale
        logits: Tensor = self.head(torch.relu(self.hidden(mixed.flatten(1))))
        return logits


class Plain:
    """Builds it; weights come from torch's own initialisation."""

    def build(self, configuration: Configuration, n_classes: int) -> nn.Module:
        return Patches(n_classes)


class WithoutLinear:
    def build(self, configuration: Configuration, n_classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, n_classes, 8), nn.Flatten())


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "_items", dict(architectures))
    architectures.add("patches", Plain())
    architectures.add("convolution", WithoutLinear())


def own(epochs: int = 2, arch: str = "patches", **changes: Any) -> TrainingSpec:
    """As `spec_of`, in a space that has these networks as well."""
    names = {parameter.name: parameter for parameter in IMAGE_SPACE.parameters}
    names["arch"] = Categorical("arch", choices=tuple(architectures), default="xresnet50")
    usual = spec_of(epochs, **changes)
    values = {name: value for name, value in usual.configuration.items() if not name.startswith("stem")}
    configuration = Space(tuple(names.values())).configuration({**values, "arch": arch})
    return TrainingSpec(configuration, epochs, usual.seed, usual.trainer)


def model_of(spec: TrainingSpec, seed: int = 0) -> Patches:
    model = build_model(spec.configuration, 10, seed)
    assert isinstance(model, Patches)
    return model


@pytest.mark.parametrize("engine", list(engines))
def test_it_trains_in_every_engine(engine: str) -> None:
    spec = own(8, engine=engine, learning_rate=0.02, flip_probability=0)
    trained = train(few_digits(0.3), spec)
    assert losses(trained.result)[-1] < losses(trained.result)[0] - 0.3
    assert trained.result.best > 0.3
    new, model = model_of(spec), trained.model
    assert isinstance(model, Patches)
    assert torch.equal(model.fixed, new.fixed), "it needs no gradient"
    assert not torch.equal(model.places.weight, new.places.weight)
    assert untimed(train(few_digits(0.3), spec).result) == untimed(trained.result)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_engines_agree_on_it(optimizer: str) -> None:
    """Rates and decays of each kind of parameter, that is."""
    changes = {"optimizer": optimizer, "weight_decay": 0.5, "learning_rate": 0.003}
    fast, reference = (train(few_digits(), own(2, engine=name, **changes)) for name in ("fast", "fastai"))
    assert losses(fast.result) == pytest.approx(losses(reference.result), rel=1e-5)


def test_it_goes_on_from_a_checkpoint() -> None:
    kept: list[TrainingCheckpoint] = []
    whole = train(few_digits(), own(3), on_checkpoint=lambda checkpoint: kept.append(copied(checkpoint)))
    assert untimed(train(few_digits(), own(3), start=kept[0]).result) == untimed(whole.result)


def test_its_weights_come_from_the_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = (model_of(own(), seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_norms_biases_vectors_and_scalars_do_not_decay() -> None:
    model = model_of(own())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, others = ({names[id(p)] for p in part} for part in split_parameters(model))
    assert decayed == {"project.weight", "places.weight", "unused", "hidden.weight", "head.weight"}
    assert others == {"project.bias", "norm.weight", "norm.bias", "scale", "hidden.bias", "head.bias"}


def test_its_embeddings_are_what_its_classifier_takes_in() -> None:
    model, x = model_of(own()), torch.randn(5, 3, 8, 8)
    assert classifier_of(model) is model.head
    with embeddings_of(model) as taken:
        logits = model(x)
    assert taken[0].shape == (5, 16)
    assert torch.allclose(model.head(taken[0]), logits)


def test_its_operations_are_those_of_its_products() -> None:
    products = 4 * WIDTH * 3 * PATCH**2 + 4 * WIDTH * WIDTH + 4 * WIDTH * 16 + 16 * 10
    # Backward to weights and to inputs, but for inputs of the first layer and the matrix that is fixed.
    backward = 2 * products - 4 * WIDTH * 3 * PATCH**2 - 4 * WIDTH * WIDTH
    spec = own()
    assert flops_per_example(spec.configuration, 10, 8) == 2 * (products + backward)
    result = train(few_digits(), spec).result
    assert result.train_flops == result.examples_seen * flops_per_example(spec.configuration, 10, 8)


def test_examples_are_scored_with_it() -> None:
    from made_up import digits

    scoring = score_examples(digits(), ScoringSpec(own(batch_size=256)), CPU)
    assert scoring.scores.embeddings.shape == (len(digits().train), 16)
    assert all(np.isfinite(scoring.scores.frame[name]).all() for name in scoring.scores.names)


def test_one_without_a_linear_layer_trains_but_cannot_score() -> None:
    from made_up import digits

    assert len(train(few_digits(), own(arch="convolution")).result.records) == 2
    with pytest.raises(UserError):
        score_examples(digits(), ScoringSpec(own(1, arch="convolution", batch_size=256)), CPU)
