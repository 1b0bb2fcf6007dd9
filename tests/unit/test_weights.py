"""Initial weights: found by any of their spellings, put into networks of every kind, and part of the key by content."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from image_training import few_digits, planned_of, spec_of, train
from safetensors.torch import save_file
from torch import Tensor, nn

from proxyflow.core.errors import InvalidValue
from proxyflow.spaces.configuration import Configuration
from proxyflow.studies.plan import training_key
from proxyflow.trainers import ImageTrainer
from proxyflow.trainers.images.libraries import Normalization
from proxyflow.trainers.images.models import (
    Renormalized,
    build_model,
    classifier_of,
    embeddings_of,
    flops_per_example,
    freeze,
)
from proxyflow.trainers.images.space import image_configuration
from proxyflow.trainers.images.weights import find_weights

TIMM, TORCHVISION, OURS = "timm/test_resnet", "torchvision/shufflenet_v2_x0_5", "xresnet10-w16"
GREY = Normalization((0.3,), (0.2,))


def configuration(arch: str, weights: object = "none", **changes: Any) -> Configuration:
    return image_configuration(arch=arch, weights=str(weights), **changes)


def kept(folder: Path, arch: str, n_classes: int = 7, seed: int = 5, name: str = "model.safetensors") -> Path:
    """A file of the weights of a network with other classes, whose norms have seen something."""
    model = build_model(configuration(arch), n_classes, seed, image_size=32).train()
    with torch.no_grad():
        model(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
    file = folder / name
    state = model.state_dict()
    if file.suffix == ".safetensors":
        save_file(state, str(file))
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    return file


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    return {name for name, value in first.items() if not torch.equal(value, second[name])}


def inner(model: nn.Module) -> nn.Module:
    return model.network if isinstance(model, Renormalized) else model


@pytest.mark.parametrize("arch", [TIMM, TORCHVISION, OURS])
@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.pth"])
def test_everything_but_the_classifier_is_that_of_the_file(tmp_path: Path, arch: str, name: str) -> None:
    file = kept(tmp_path, arch, name=name)
    before = torch.get_rng_state()
    model = build_model(configuration(arch, f"file:{file}"), 10, 0, image_size=32)
    assert torch.equal(torch.get_rng_state(), before)
    random = build_model(configuration(arch), 10, 0, image_size=32)
    donor = build_model(configuration(arch), 7, 5, image_size=32).train()
    donor(torch.randn(8, 3, 32, 32))
    assert torch.equal(classifier_of(model).weight, classifier_of(random).weight), "it is new, from the seed"
    weights = {key for key in model.state_dict() if key.endswith("weight")}
    head = {key for key in weights if model.state_dict()[key].shape == classifier_of(model).weight.shape}
    assert differing({k: model.state_dict()[k] for k in weights - head}, donor.state_dict()) == set()


@pytest.mark.parametrize("arch", [TIMM, TORCHVISION])
def test_a_network_sees_images_as_its_weights_were_trained(tmp_path: Path, arch: str) -> None:
    file = kept(tmp_path, arch)
    spelled = configuration(arch, f"file:{file}")
    found = find_weights(spelled)
    assert found is not None
    assert found.normalization is not None
    assert found.normalization.mean == ((0.5,) * 3 if arch == TIMM else (0.485, 0.456, 0.406))
    pixels = torch.rand(4, 1, 32, 32).expand(4, 3, 32, 32)
    model = build_model(spelled, 10, 0, image_size=32, normalization=GREY).eval()
    bare = inner(build_model(spelled, 10, 0, image_size=32)).eval()
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (found.normalization.mean, found.normalization.std))
    assert torch.allclose(model((pixels - 0.3) / 0.2), bare((pixels - mean) / std), atol=1e-4)
    with embeddings_of(model) as taken:
        model((pixels - 0.3) / 0.2)
    assert taken[0].shape[0] == 4


def test_a_folder_says_how_its_images_were_normalized(tmp_path: Path) -> None:
    kept(tmp_path, TIMM, name="pytorch_model.bin")
    content = {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = find_weights(configuration(TIMM, f"dir:{tmp_path}"))
    assert found is not None
    assert (found.file.name, found.normalization) == ("pytorch_model.bin", Normalization((0.5,) * 3, (0.25,) * 3))
    kept(tmp_path, OURS)
    (tmp_path / "model.json").write_text(json.dumps({"mean": [0.4], "std": [0.3]}))
    ours = find_weights(configuration(OURS, f"dir:{tmp_path}"))
    assert ours is not None
    assert (ours.file.name, ours.normalization) == ("model.safetensors", Normalization((0.4,), (0.3,)))


def test_places_of_patches_are_brought_to_another_size(tmp_path: Path) -> None:
    small = timm.create_model("test_vit", num_classes=7, img_size=64)
    save_file(small.state_dict(), str(tmp_path / "vit.safetensors"))
    spelled = configuration("timm/test_vit", f"file:{tmp_path / 'vit.safetensors'}")
    model = build_model(spelled, 10, 0, image_size=32)
    assert model.get_parameter("blocks.0.attn.qkv.weight").equal(small.get_parameter("blocks.0.attn.qkv.weight"))
    assert model.get_parameter("pos_embed").shape != small.get_parameter("pos_embed").shape


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("harm").touch, ())


def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept(tmp_path, OURS)
    (tmp_path / "text.pth").write_text("no weights")
    torch.save(3, tmp_path / "number.pth")
    (tmp_path / "harmful.pth").write_bytes(pickle.dumps(Harmful()))
    for weights, reason in {
        "file:none.pth": "no such file",
        "dir:.git": "none of the files",
        "file:text.pth": "is damaged",
        "file:number.pth": "no tensors",
        "file:harmful.pth": "run code",
        "file:model.safetensors": "lacks",
        "file:": "file:PATH",
        "imagenet": "file:PATH",
        "run": "run:RUN_ID",
    }.items():
        with pytest.raises(InvalidValue, match=reason) as caught:
            build_model(configuration(TIMM, weights), 10, 0, image_size=32)
        assert caught.value.name == "weights"
    assert not Path("harm").exists()
    with pytest.raises(InvalidValue, match="in other shapes") as caught:
        build_model(configuration(OURS, "file:model.safetensors", stem_channels_1=8), 10, 0)
    assert "0.0.weight" in caught.value.rule
    with pytest.raises(InvalidValue, match="no published weights"):
        ImageTrainer().check_request([configuration(OURS, "default")])


def test_published_weights_come_from_the_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("constants.HF_HUB_OFFLINE", "constants.HF_HUB_CACHE"):
        monkeypatch.setattr(f"huggingface_hub.{name}", True if "OFFLINE" in name else str(tmp_path / "hub"))
    with pytest.raises(InvalidValue, match=r"shufflenetv2_x0\.5") as caught:
        find_weights(configuration(TORCHVISION, "default"))
    assert str(tmp_path) in caught.value.rule
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    file = kept(tmp_path / "hub/checkpoints", TORCHVISION, 1000, name="shufflenetv2_x0.5-f707e7126e.pth")
    found = find_weights(configuration(TORCHVISION, "default"))
    assert found is not None
    assert found.file == file
    build_model(configuration(TORCHVISION, "default"), 10, 0, image_size=32)
    with pytest.raises(InvalidValue, match="hf download timm/resnet18") as caught:
        find_weights(configuration("timm/resnet18", "default"))
    assert str(tmp_path) in caught.value.rule


def key_of(spelled: Configuration) -> str:
    spec = spec_of(**dict(spelled.differences))
    return training_key(planned_of("full", spec), "data", "subset", {})


def test_a_key_has_the_content_of_weights_and_nothing_where_there_are_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    one, other = kept(first, OURS), kept(second, OURS, seed=6)
    same = kept(tmp_path, OURS)
    none, *keys = (key_of(configuration(OURS, w)) for w in ("none", f"file:{one}", f"file:{same}", f"file:{other}"))
    assert len({none, *keys}) == 3
    assert keys[0] == keys[1]
    assert ImageTrainer().keyed(configuration(OURS)).keys().isdisjoint({"weights", "freeze"})
    assert ImageTrainer().keyed(configuration(OURS, freeze=0.5))["freeze"] == 0.5


@pytest.mark.parametrize("engine", ["fast", "fastai"])
@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_fixed_layers_stay_as_they_are(engine: str, fraction: float) -> None:
    spec = spec_of(2, engine=engine, freeze=fraction)
    new, trained = build_model(spec.configuration, 10, 0), train(few_digits(), spec).model
    assert trained is not None
    changed = differing(trained.state_dict(), new.state_dict())
    fixed = {name for name, parameter in new.named_parameters() if not parameter.requires_grad}
    assert fixed
    assert not changed & fixed
    head = {"11.weight", "11.bias"}
    assert head <= changed
    assert (changed == head) == (fraction == 1), "norms of fixed layers keep their statistics"


def test_what_is_fixed_costs_less() -> None:
    full, half, head = (flops_per_example(configuration(OURS, freeze=part), 10, 32) for part in (0, 0.5, 1))
    assert full > half > head > full / 3.5


def test_freezing_counts_layers_from_the_input() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    freeze(model, 0.67)
    assert [p.requires_grad for p in model.parameters()] == [False, False, False, False, True, True, True, True]


def test_the_digest_of_weights_is_a_param(tmp_path: Path) -> None:
    file = kept(tmp_path, OURS)
    spec = spec_of(1, weights=f"file:{file}")
    result = train(few_digits(), spec).result
    found = find_weights(spec.configuration)
    assert found is not None
    assert result.params["weights_sha256"] == found.sha256
    assert "weights_sha256" not in train(few_digits(), spec_of(1)).result.params
