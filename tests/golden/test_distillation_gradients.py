"""Gradients that images are learnt by are held to finite differences and to the formula written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_up import digits
from torch import Tensor, nn
from torch.nn import functional as F

from proxyflow.distillation import augment, networks
from proxyflow.distillation.distill import distill
from proxyflow.distillation.matching import matching_loss
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.distillation.unrolling import distillation_loss
from proxyflow.strategies.distillation_methods import parse_method

STEP = 1e-6


def double(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def doubled(weights: networks.Weights) -> networks.Weights:
    return {name: value.double() for name, value in weights.items()}


@pytest.fixture
def unrolled() -> tuple[nn.Module, networks.Weights, tuple[Tensor, Tensor]]:
    """A tiny network with convolution and pooling, smooth so that finite differences hold; its weights; real images."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    weights = doubled(networks.draw_xavier(network, torch.Generator().manual_seed(0), torch.device("cpu")))
    return network, weights, (double(7, 1, 6, 6, seed=1), torch.arange(7) % 3)


def test_the_gradient_through_the_steps_is_the_finite_difference(
    unrolled: tuple[nn.Module, networks.Weights, tuple[Tensor, Tensor]],
) -> None:
    network, weights, real = unrolled
    images, raw = double(6, 1, 6, 6, seed=2), double(6, seed=3) * 0.3
    labels = torch.arange(6) % 3

    def loss(images: Tensor, raw: Tensor) -> Tensor:
        batches = [(images[part], labels[part]) for part in (slice(0, 3), slice(3, 6))]
        return distillation_loss(network, weights, batches, F.softplus(raw), real)

    at = images.clone().requires_grad_(), raw.clone().requires_grad_()
    gradients = torch.autograd.grad(loss(*at), at)
    for which, (values, gradient) in enumerate(zip((images, raw), gradients, strict=True)):
        scale = float(gradient.abs().max())
        assert scale > 1e-3
        for place in range(0, values.numel(), 7 if which == 0 else 1):
            ends = []
            for sign in (1, -1):
                moved = [images.clone(), raw.clone()]
                moved[which].view(-1)[place] += sign * STEP
                ends.append(float(loss(*moved).detach()))
            assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(float(gradient.view(-1)[place]), abs=1e-5 * scale)


def test_the_steps_are_plain_gradient_descent(
    unrolled: tuple[nn.Module, networks.Weights, tuple[Tensor, Tensor]],
) -> None:
    network, weights, real = unrolled
    network.double().load_state_dict(weights)
    images, labels, rates = double(6, 1, 6, 6, seed=2), torch.arange(6) % 3, torch.tensor([0.1, 0.5, 0.2, 0.4])
    batches = [(images[:3], labels[:3]), (images[3:], labels[3:])]
    found = distillation_loss(network, weights, batches, rates.double(), real)
    for number, rate in enumerate(rates.tolist()):
        x, y = batches[number % 2]
        sgd = torch.optim.SGD(network.parameters(), lr=rate)
        sgd.zero_grad()
        F.cross_entropy(network(x), y).backward()
        sgd.step()
    assert float(found.detach()) == pytest.approx(float(F.cross_entropy(network(real[0]), real[1]).detach()), rel=1e-9)


def test_the_matching_loss_and_its_gradient_are_those_of_the_formula_written_out() -> None:
    network = networks.ConvNet(2, width=3, depth=2, image_size=8)
    weights = doubled(networks.draw_default(network, torch.Generator().manual_seed(0), torch.device("cpu")))
    real = [double(n, 2, 8, 8, seed=n) for n in (4, 5, 3)]
    sizes = [2, 1, 3]
    images = double(6, 2, 8, 8, seed=9).requires_grad_()
    loss = matching_loss(network, weights, real, torch.split(images, sizes))
    (gradient,) = torch.autograd.grad(loss, images)

    def embed(x: Tensor) -> Tensor:
        for block in range(2):
            x = F.conv2d(x, weights[f"{4 * block}.weight"], weights[f"{4 * block}.bias"], padding=1)
            mean, spread = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), unbiased=False, keepdim=True)
            x = F.avg_pool2d(torch.relu((x - mean) / torch.sqrt(spread + 1e-5)), 2)
        return x.flatten(1)

    plain = images.detach().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    first = 0
    for of_class, size in zip(real, sizes, strict=True):
        difference = sum(embed(x[None])[0] for x in of_class) / len(of_class)
        for number in range(first, first + size):
            difference = difference - embed(plain[number][None])[0] / size
        total = total + (difference**2).sum()
        first += size
    total.backward()
    assert plain.grad is not None
    assert float(loss.detach()) == pytest.approx(float(total.detach()), rel=1e-9)
    assert torch.allclose(gradient, plain.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("method", "settings", "share"),
    [
        ("distribution-matching", "iterations=20,width=8,depth=2,real_per_class=20", 0.5),
        ("gradient-steps", "iterations=60,epochs=1,batch=256,first_rate=0.1,learning_rate=0.05,init=fixed", 0.8),
    ],
)
def test_both_reduce_their_objective_on_digits(method: str, settings: str, share: float) -> None:
    spec = DistillationSpec(2, parse_method(method, settings), image_size=12)
    losses = [loss for _, loss in distill(digits(), spec, torch.device("cpu"), "made").losses]
    tenth = len(losses) // 10
    assert np.mean(losses[-tenth:]) < share * np.mean(losses[:tenth])


@pytest.mark.parametrize("kind", list(augment.KINDS))
def test_an_augmentation_shows_all_images_alike_and_passes_gradients(kind: str) -> None:
    drawn = augment.Augmentation(kind, (0.3, 0.8, 0.6))
    images = double(3, 2, 8, 8, seed=0).requires_grad_()
    together = drawn(images)
    assert torch.allclose(together, torch.cat([drawn(image[None]) for image in images]))
    assert together.shape == images.shape
    assert not torch.allclose(together, images)
    (gradient,) = torch.autograd.grad((together * double(3, 2, 8, 8, seed=1)).sum(), images)
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs().max()) > 0


def test_augmentations_do_what_they_are_called() -> None:
    images = double(2, 3, 8, 8, seed=0)
    shifted = augment.Augmentation("crop", (0.99, 0.5, 0.0))(images)  # down by one pixel, which is an eighth of 8
    assert torch.equal(shifted[:, :, :-1], images[:, :, 1:])
    assert not shifted[:, :, -1].any()
    assert torch.equal(augment.Augmentation("flip", (0.4, 0.0, 0.0))(images), images.flip(3))
    assert torch.equal(augment.Augmentation("flip", (0.6, 0.0, 0.0))(images), images)
    hole = augment.Augmentation("cutout", (0.5, 0.5, 0.0))(images) == 0
    assert hole[0, 0, 2:6, 2:6].all()
    assert int(hole[0, 0].sum()) == 16
    middle = augment.Augmentation("rotate", (0.5, 0.0, 0.0))(images)  # by no degrees
    assert torch.allclose(middle, images, atol=1e-12)
    same = augment.Augmentation("color", (0.5, 0.5, 0.5))(images)
    assert torch.allclose(same, images, atol=1e-12)
    drawn = {augment.draw_augmentation(("crop", "flip"), np.random.default_rng(seed)).kind for seed in range(20)}
    assert drawn == {"crop", "flip"}
    assert torch.equal(augment.draw_augmentation((), np.random.default_rng(0))(images), images)


def test_batch_norm_is_refused_by_its_layers_name() -> None:
    from proxyflow.core.errors import UserError
    from proxyflow.trainers.images.models import build_model
    from proxyflow.trainers.images.space import image_configuration

    with pytest.raises(UserError, match="XResNet has batch norm"):
        networks.check_no_batch_norm(build_model(image_configuration(arch="xresnet10-w16"), 3, 0))
    networks.check_no_batch_norm(networks.LeNet(1, 10, 28))
    networks.check_no_batch_norm(networks.AlexNet(3, 10, 32))
