"""A proxy has one spelling, however it was written; what cannot be joined or trained is refused before anything runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_training import spec_of
from made_up import digits, noise_dataset

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.proxies import (
    COMBINED,
    TARGET,
    Batch,
    Epochs,
    Proxy,
    Size,
    Width,
    check_data_only,
    data_of,
    known_fidelities,
    parse_proxies,
    parse_proxy,
)
from proxyflow.proxies.width import channels_at
from proxyflow.strategies import Classes, Random
from proxyflow.studies.plan import check_reductions
from proxyflow.trainers import FunctionTrainer, ImageTrainer, ProgramTrainer
from proxyflow.trainers.images.architectures import architectures, at_width
from proxyflow.trainers.images.models import build_model
from proxyflow.trainers.images.space import image_configuration

DATA = ["", "full", "random:0.25", "easiest:0.1,by=el2n", "hardest:0.5,drop=0.05", "classes:0+3+5", "slice:0.2-0.9"]
DATA += ["curriculum:0.25,order=random,pace=root", "half-classes:0.5", "random:1"]
OTHERS = [["", "epochs:5"], ["", "size:64"], ["", "width:0.5", "width:1"], ["", "batch:16", "batch:16,scale=sqrt"]]
parts = st.tuples(st.sampled_from(DATA), *map(st.sampled_from, OTHERS)).map(
    lambda found: [each for each in found if each]
)


@given(parts.filter(len), st.randoms(use_true_random=False), st.sampled_from(["+", " + ", "+ ", " +"]))
def test_one_proxy_has_one_spelling(chosen: list[str], random: object, join: str) -> None:
    expected = parse_proxy("+".join(chosen))
    random.shuffle(chosen)  # type: ignore[attr-defined]
    found = parse_proxy(join.join(chosen))
    assert found == expected
    assert hash(found) == hash(expected)
    assert parse_proxy(found.canonical) == found
    assert found.canonical == parse_proxy(found.canonical).canonical
    assert parse_proxies(f"full,{join.join(chosen)} epochs:7") == tuple(
        dict.fromkeys([TARGET, expected, Proxy(reductions=(Epochs(7),))])
    )


def test_the_order_of_a_spelling_is_data_epochs_size_width_batch() -> None:
    found = parse_proxy("batch:16+width:.5+size:32+epochs:3+random:.25")
    assert found.canonical == "random:0.25+epochs:3+size:32+width:0.5+batch:16"
    assert found == Proxy(Random(0.25), (Epochs(3), Size(32), Width(0.5), Batch(16)))


def test_a_plus_before_a_digit_belongs_to_classes() -> None:
    found = parse_proxy("classes:0+3+5+size:16")
    assert found == Proxy(Classes("0+3+5"), (Size(16),))
    assert found.canonical == "classes:0+3+5+size:16"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("size:8+size:16", "size is given twice"),
        ("random:0.1+easiest:0.2", "random:0.1 and easiest:0.2"),
        ("random:0.1+", "a part is missing"),
        ("+size:8", "a part is missing"),
        ("batch:16+scale=linear", "after a comma"),
        ("curriculum:0.5,order=random,by=margin", "leave it out"),
        ("random:0.25,size:16", "write random:0.25+size:16"),
        ("easiest:0.25,size:16,by=el2n", "write easiest:0.25,by=el2n+size:16"),
        ("size:0", "at least 1"),
        ("width:0", "above 0"),
        ("width:1.5", "at most 1"),
        ("batch:1", "at least 2"),
        ("batch:16,scale=cubic", "none, linear, sqrt"),
        ("size", "N is missing"),
        ("size:8,by=loss", "no options"),
        ("curriculum:0.25,pace=fast", "linear, step, root"),
    ],
)
def test_what_cannot_be_a_proxy_is_refused_with_the_rule(text: str, named: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(named)):
        parse_proxy(text)


def test_an_unknown_part_is_refused_by_its_own_name() -> None:
    with pytest.raises(UnknownName) as caught:
        parse_proxy("random:0.1+sizes:8")
    assert caught.value.value == "sizes"


def test_what_changes_nothing_is_left_out() -> None:
    assert parse_proxy("full+width:1") == TARGET
    assert TARGET.is_target
    assert not parse_proxy("epochs:5").is_target


def test_families() -> None:
    assert parse_proxy("size:16").family == Size.family
    assert parse_proxy("full+size:16").family == Size.family
    assert parse_proxy("random:0.1").family == Random.family
    assert parse_proxy("random:0.1+size:16").family == COMBINED


def test_where_examples_are_chosen_nothing_else_can_be_reduced() -> None:
    assert check_data_only(parse_proxy("random:0.1"), "choose selects examples") == Random(0.1)
    with pytest.raises(InvalidValue, match="leave out epochs:2"):
        check_data_only(parse_proxy("random:0.1+epochs:2"), "choose selects examples")
    assert data_of(parse_proxies("random:0.1 random:0.1+size:8 size:8")) == (Random(0.1), TARGET.data)


@pytest.mark.parametrize("text", ["size:16", "width:0.5", "batch:16", "curriculum:0.25", "random:0.1+size:16"])
def test_a_trainer_that_cannot_reduce_it_says_what_it_can(text: str) -> None:
    trainer = ProgramTrainer("python train.py --epochs {epochs}")
    with pytest.raises(InvalidValue, match="it can reduce data, epochs"):
        check_reductions([parse_proxy(text)], trainer)
    check_reductions([parse_proxy(text)], ImageTrainer())


def test_a_program_reduces_what_it_has_placeholders_for() -> None:
    trainer = ProgramTrainer("python train.py --size {size} --width {width} --batch {batch} --epochs {epochs}")
    assert set(trainer.fidelities) == set(known_fidelities()) - {"curriculum"}
    assert trainer.command.fill({"epochs": 3, "size": 64}, inactive=["size", "width", "batch"]) == [
        *("python", "train.py", "--size", "64", "--epochs", "3")
    ]
    dataset = digits()
    assert not trainer.unsupported(parse_proxy("size:64+batch:8"), dataset, ())
    assert "batch:8" in trainer.unsupported(parse_proxy("batch:8,scale=sqrt"), dataset, ())


def test_a_hyperparameter_of_the_same_name_is_no_reduction() -> None:
    trainer = ProgramTrainer("python train.py --batch {batch_size}")
    configurations = (image_configuration(),)
    assert not trainer.unsupported(parse_proxy("random:0.1"), digits(), configurations)
    own = FunctionTrainer("user_functions:fit").unsupported(parse_proxy("size:4"), digits(), ())
    assert not own


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("size:8", "image_size=8"),
        ("size:16", "image_size=8"),
        ("batch:64", "batch_size"),
        ("distilled:2+size:8", "synthetic"),
        ("width:0.5", ""),
        ("width:0.99", "multiples of 8"),
        ("distilled:2+batch:8,scale=sqrt", "synthetic"),
        ("batch:32", ""),
    ],
)
def test_values_that_reduce_nothing_are_refused(text: str, reason: str) -> None:
    found = ImageTrainer(image_size=8).unsupported(parse_proxy(text), digits(), (image_configuration(),))
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_network_without_narrower_variants_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        def build(self, configuration: object, n_classes: int) -> None: ...

    monkeypatch.setitem(architectures._items, "fixed", Fixed())
    grid: Any = ({"arch": "xresnet50"}, {"arch": "fixed"})
    assert "arch=fixed" in ImageTrainer().unsupported(parse_proxy("width:0.5"), digits(), grid)
    assert not ImageTrainer().unsupported(parse_proxy("width:0.5"), digits(), grid[:1])
    with pytest.raises(InvalidValue, match="Fixed"):
        at_width(Fixed(), 0.5)


@pytest.mark.parametrize(
    ("channels", "fraction", "expected"), [(64, 0.5, 32), (32, 0.35, 8), (4, 0.5, 4), (48, 0.5, 24)]
)
def test_channels_are_multiples_of_8_and_never_more(channels: int, fraction: float, expected: int) -> None:
    assert channels_at(channels, fraction) == expected
    assert channels_at(channels, 1.0) == channels


def test_a_narrower_network_has_fewer_channels_everywhere_stem_included() -> None:
    configuration = image_configuration(arch="xresnet18")
    full, half = (build_model(configuration, 10, 0, width) for width in (1.0, 0.5))
    shapes = zip(full.named_parameters(), half.named_parameters(), strict=True)
    for (name, whole), (_, part) in shapes:
        inputs = part.ndim > 1 and name != "0.0.weight"
        assert part.shape[0] == (whole.shape[0] if name.startswith("11.") else whole.shape[0] // 2), name
        assert not inputs or part.shape[1] == whole.shape[1] // 2, name


def test_reductions_of_the_image_trainer_are_settings_and_hyperparameters() -> None:
    proxy = parse_proxy("epochs:1+size:8+width:0.5+batch:16,scale=linear")
    trainer = ImageTrainer(image_size=32).at(proxy)
    assert (trainer.image_size, trainer.width) == (8, 0.5)
    used = trainer.reduced(image_configuration(learning_rate=0.01, batch_size=64), proxy, 1000)
    assert (used["batch_size"], used["learning_rate"]) == (16, 0.0025)
    small = trainer.reduced(image_configuration(batch_size=8), proxy, 1000)
    assert (small["batch_size"], small["learning_rate"]) == (8, 0.003), (
        "configurations with smaller batches keep theirs"
    )
    few = trainer.reduced(image_configuration(learning_rate=0.01, batch_size=64), proxy, 20)
    assert few["learning_rate"] == 0.01 * 16 / 20, "20 examples are one batch of 20"
    assert spec_of().trainer.at(TARGET) == spec_of().trainer


def test_sizes_of_the_data_set_are_known_to_the_check() -> None:
    larger = noise_dataset([0, 1] * 4, [0, 1], 2)
    full = larger.preprocessing.image_size
    assert not ImageTrainer().unsupported(parse_proxy(f"size:{full - 1}"), larger, (image_configuration(),))
