"""Networks of timm and torchvision: by name, for images of any size, in other widths, and what is wrong otherwise."""

from __future__ import annotations

import pytest
import torch
from image_training import few_digits, spec_of, train, untimed
from made_up import digits

from proxyflow.core.errors import InvalidValue
from proxyflow.proxies import parse_proxy
from proxyflow.spaces.space import Space
from proxyflow.trainers import ImageTrainer
from proxyflow.trainers.images.architectures import architecture_of, at_width, has_widths
from proxyflow.trainers.images.models import build_model, classifier_of, embeddings_of, flops_per_example
from proxyflow.trainers.images.space import IMAGE_SPACE, image_configuration

SMALL = ("timm/mobilenetv3_small_050", "timm/test_vit", "torchvision/shufflenet_v2_x0_5", "torchvision/resnet18")


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("side", [16, 48])
def test_a_network_classifies_images_of_any_side(arch: str, side: int) -> None:
    configuration = image_configuration(arch=arch)
    model = build_model(configuration, 7, 0, image_size=side).eval()
    with embeddings_of(model) as taken:
        logits = model(torch.randn(2, 3, side, side))
    assert logits.shape == (2, 7)
    assert torch.allclose(classifier_of(model)(taken[0]), logits)
    assert flops_per_example(configuration, 7, side) > 0


@pytest.mark.parametrize("arch", SMALL)
def test_its_weights_come_from_the_seed_and_leave_the_global_generator_alone(arch: str) -> None:
    before = torch.get_rng_state()
    first, second, other = (build_model(image_configuration(arch=arch), 5, seed, image_size=32) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in first.state_dict().items())


def test_random_layers_draw_from_the_seed_of_the_training() -> None:
    """Dropout of .2 and stochastic depth: the same again, whatever was drawn before."""
    spec = spec_of(2, arch="torchvision/mobilenet_v3_small", batch_size=16, flip_probability=0)
    first = train(few_digits(), spec)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert untimed(train(few_digits(), spec).result) == untimed(first.result)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arch", "close"),
    [
        ("timm/resnet18z", "timm/resnet18"),
        ("torchvision/resnet_18", "torchvision/resnet18"),
        ("timn/resnet18", "timm/NAME"),
        ("timm/qqqqqqq", "networks"),
        ("xresnet19", "xresnet18"),
    ],
)
def test_an_unknown_name_lists_close_ones(arch: str, close: str) -> None:
    with pytest.raises(InvalidValue, match=close) as caught:
        image_configuration(arch=arch)
    assert (caught.value.name, caught.value.value) == ("arch", arch)
    assert len(str(caught.value)) < 500


def test_its_stem_is_its_own() -> None:
    configuration = image_configuration(arch="timm/resnet18")
    assert configuration.name == "arch=timm/resnet18"
    assert "stem_channels_1" not in configuration
    with pytest.raises(InvalidValue) as caught:
        image_configuration(arch="timm/resnet18", stem_channels_1=8)
    assert caught.value.name == "stem_channels_1"


def test_a_space_mixes_networks_of_libraries_and_our_own() -> None:
    content = {"arch": ["xresnet18", "timm/resnet18"], "stem_channels_1": [8, 32]}
    found = Space.of(content, "here", IMAGE_SPACE).sample(3, 0)
    assert {each.name for each in found} == {"arch=xresnet18", "arch=xresnet18,stem=8-32", "arch=timm/resnet18"}
    with pytest.raises(InvalidValue):
        Space.of({"arch": ["timm/resnet18z"]}, "here", IMAGE_SPACE)


@pytest.mark.parametrize(
    ("arch", "fraction", "narrow"),
    [
        ("timm/mobilenetv3_small_100", 0.5, "mobilenetv3_small_050"),
        ("torchvision/shufflenet_v2_x1_0", 0.5, "shufflenet_v2_x0_5"),
        ("torchvision/mnasnet1_0", 0.75, "mnasnet0_75"),
    ],
)
def test_a_narrower_network_is_the_library_s_own(arch: str, fraction: float, narrow: str) -> None:
    found = at_width(architecture_of(arch), fraction)
    assert getattr(found, "name", "") == narrow
    configuration = image_configuration(arch=arch)
    assert flops_per_example(configuration, 10, 32, fraction) < flops_per_example(configuration, 10, 32)


@pytest.mark.parametrize(
    ("strategy", "arch", "size", "reason"),
    [
        ("random:0.5+width:0.5", "timm/resnet18", 32, "no narrower variants"),
        ("width:0.3", "timm/mobilenetv3_small_100", 32, "0.5, 0.75"),
        ("full", "torchvision/densenet121", 8, "too small"),
        ("size:24", "timm/vit_tiny_patch16_224", 32, "does not divide 24"),
        ("full", "timm/resnet18", 32, ""),
        ("size:17", "timm/resnet18", 32, ""),
    ],
)
def test_what_a_network_cannot_do_is_refused_with_the_reason(strategy: str, arch: str, size: int, reason: str) -> None:
    trainer, grid = ImageTrainer(image_size=size), (image_configuration(arch=arch),)
    found = trainer.unsupported(parse_proxy(strategy), digits(), grid)
    assert reason in found
    assert bool(found) == bool(reason)


def test_networks_without_variants_have_no_widths() -> None:
    assert not has_widths(architecture_of("timm/resnet18"))
    assert has_widths(architecture_of("timm/lcnet_100"))


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.trainers.images.libraries.timm.find_spec", lambda name: None)
    with pytest.raises(InvalidValue, match=r"proxyflow\[timm\]") as caught:
        image_configuration(arch="timm/resnet26")
    assert caught.value.name == "arch"
