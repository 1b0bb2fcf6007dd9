"""The networks are fastai's: same weights by the same names, same outputs, same rule of initialisation."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from proxyflow.trainers.images.architectures import XResNetArchitecture, architectures
from proxyflow.trainers.images.models import build_model
from proxyflow.trainers.images.space import image_configuration

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.vision.models import xresnet as reference


def _reference(arch: str) -> nn.Module:
    """fastai's network; of a narrow one its `widen` with a stem that ends as narrow."""
    name, _, narrow = arch.partition("-w")
    if not narrow:
        return getattr(reference, name)(n_out=7, stem_szs=(4, 48, 64))
    shape = architectures[arch]
    assert isinstance(shape, XResNetArchitecture)
    shape = shape.shape
    widen = shape.width / 64
    model = reference.XResNet(
        reference.ResBlock, shape.expansion, list(shape.depths), n_out=7, stem_szs=(4, 48, shape.width), widen=widen
    )
    # fastai widens the stages and leaves the stem's output at 64, a third of all the work at this width.
    model[4] = model._make_layer(shape.width, shape.width, blocks=shape.depths[0], stride=1, sa=False)
    reference.init_cnn(model[4])
    return model


@pytest.mark.parametrize("arch", list(architectures))
def test_weights_load_into_fastais_network_and_give_its_outputs(arch: str) -> None:
    torch.manual_seed(0)
    ours = build_model(image_configuration(arch=arch, stem_channels_1=4, stem_channels_2=48), 7, seed=0)
    theirs = _reference(arch)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    drawn = {name: value.clone() for name, value in theirs.state_dict().items()}
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 3, 33, 40)
    for model in (ours, theirs):
        model.train()
        # Norms that begin at 0 would hide half of the network.
        torch.manual_seed(1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    fresh = build_model(image_configuration(arch=arch, stem_channels_1=4, stem_channels_2=48), 7, seed=0).state_dict()
    for name, value in drawn.items():
        if value.ndim <= 1:
            assert torch.equal(value, fresh[name]), name
        elif value.numel() > 5000:
            assert float(fresh[name].std() / value.std()) == pytest.approx(1, abs=0.05), name
            assert float(fresh[name].mean()) == pytest.approx(0, abs=0.1 * float(value.std())), name


def test_a_seed_gives_weights_and_every_call_a_model_of_its_own() -> None:
    configuration = image_configuration(arch="xresnet18")
    first, second, other = (build_model(configuration, 5, seed) for seed in (0, 0, 1))
    weight, same, different = (next(model.parameters()) for model in (first, second, other))
    assert torch.equal(weight, same)
    assert weight.data_ptr() != same.data_ptr()
    assert not torch.equal(weight, different)


def test_building_a_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_model(image_configuration(arch="xresnet18", stem_channels_1=11), 5, seed=12)
    assert torch.equal(torch.rand(3), expected)
