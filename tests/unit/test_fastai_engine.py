"""The reference engine is set up as the published script was: decay, momentum, schedule."""

from __future__ import annotations

import pytest
import torch
from fastai.callback.core import Callback
from image_training import few_digits, spec_of, train

from proxyflow.trainers.images import fastai_engine
from proxyflow.trainers.images.models import build_model, flops_per_example
from proxyflow.trainers.images.space import image_configuration


class Spy(Callback):
    """Notes what the optimizer is told at each step."""

    def __init__(self) -> None:
        self.seen_rates: list[float] = []
        self.seen_momenta: list[float] = []

    def before_step(self) -> None:
        self.seen_rates.append(self.opt.hypers[0]["lr"])
        self.seen_momenta.append(self.opt.hypers[0].get("mom"))

    def after_fit(self) -> None:
        self.final_hypers = dict(self.opt.hypers[0])
        self.undecayed = sum(1 for p, *_ in self.opt.all_params() if self.opt.state[p].get("do_wd") is False)
        self.n_parameters = sum(1 for _ in self.opt.all_params())
        self.one_dimensional = sum(1 for p, *_ in self.opt.all_params() if p.ndim == 1)


def spy_on(monkeypatch: pytest.MonkeyPatch, optimizer: str, epochs: int = 5) -> Spy:
    spy = Spy()
    real = fastai_engine.Learner

    def learner(*args: object, **kwargs: object) -> object:
        return real(*args, **{**kwargs, "cbs": [*kwargs["cbs"], spy]})  # type: ignore[misc]

    monkeypatch.setattr(fastai_engine, "Learner", learner)
    spec = spec_of(epochs, engine="fastai", batch_size=64, optimizer=optimizer, learning_rate=0.01)
    train(few_digits(), spec)
    return spy


def test_one_cycle_rises_for_three_tenths_from_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = spy_on(monkeypatch, "adam")
    assert len(spy.seen_rates) == 10
    assert spy.seen_rates[0] == pytest.approx(0.001)
    assert spy.seen_rates.index(max(spy.seen_rates)) == 3
    assert max(spy.seen_rates) == pytest.approx(0.01)
    assert spy.seen_rates[-1] < 0.001
    assert spy.seen_momenta[0] == pytest.approx(0.95)
    assert min(spy.seen_momenta) == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", {"sqr_mom": 0.99, "eps": 1e-6, "wd": 0.01}),
        ("sgd", {"wd": 0.01}),
        ("rmsprop", {"sqr_mom": 0.99, "eps": 1e-8, "wd": 0.01}),
    ],
)
def test_weights_alone_decay(monkeypatch: pytest.MonkeyPatch, optimizer: str, expected: dict[str, float]) -> None:
    spy = spy_on(monkeypatch, optimizer, epochs=1)
    assert {key: spy.final_hypers[key] for key in expected} == pytest.approx(expected)
    # Norms and biases are the one-dimensional parameters of these networks; all others decay.
    assert spy.undecayed == spy.one_dimensional
    assert 0 < spy.undecayed < spy.n_parameters


def test_both_stem_widths_reach_the_network() -> None:
    model = build_model(image_configuration(arch="xresnet18", stem_channels_1=4, stem_channels_2=48), 7, seed=0)
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim == 4][:3]
    assert shapes == [(4, 3, 3, 3), (48, 4, 3, 3), (64, 48, 3, 3)]
    assert list(model.parameters())[-1].shape == (7,)


def test_flops_are_counted_as_by_hand() -> None:
    configuration = image_configuration(arch="xresnet18")
    model = build_model(configuration, 10, seed=0).eval()
    products = 0

    def count(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal products
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        products += weight.numel() * (output.shape[2] * output.shape[3] if output.ndim == 4 else 1)

    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    model(torch.zeros(1, 3, 32, 32))
    # Forward, and backward to weights and to inputs, which the first layer does not need.
    first = 32 * 3 * 9 * 16 * 16
    assert flops_per_example(configuration, 10, 32) == 2 * (3 * products - first)
