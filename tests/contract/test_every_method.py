"""What holds for every method of distillation, so that a new one is tested by being registered."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_up import noise_dataset

from proxyflow.core.errors import UserError
from proxyflow.core.settings import settings_of
from proxyflow.data.protocol import Dataset
from proxyflow.distillation import agreement
from proxyflow.distillation import distill as distil_module
from proxyflow.distillation.agreement import Agreement
from proxyflow.distillation.checkpoint import DistillationCheckpoint
from proxyflow.distillation.distill import Distillation, DistillationState, distill
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.strategies import parse_strategy
from proxyflow.strategies.distillation_methods import Method, methods, parse_method, syntax_of
from proxyflow.subsets.artifact import read_subset, write_subset
from proxyflow.trainers import Job

# Small enough for tests; a method that is not here is tried as it is.
SMALL = {
    "distribution-matching": "iterations=4,width=4,depth=2,real_per_class=5",
    "gradient-steps": "iterations=4,steps=2,epochs=2,batch=20",
    "rank-agreement": "iterations=2,starts=2",
}
CPU = torch.device("cpu")
every_method = pytest.mark.parametrize("name", list(methods))


@pytest.fixture(autouse=True)
def pilots_without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings take most of the time: in their place accuracies that images decide, none by a rounded pixel."""

    def train(job: Job) -> SimpleNamespace:
        brightness = job.subset.train.images.mean() / 255
        pilot = job.configuration.replace(batch_size=agreement.PILOTS[0]["batch_size"])
        accuracy = (1 + math.cos(1000 * brightness * (agreement.PILOTS.index(pilot) + 1))) / 2
        return SimpleNamespace(result=SimpleNamespace(best=accuracy, examples_seen=20, train_flops=1e6))

    monkeypatch.setattr(agreement, "ImageTrainer", lambda **settings: SimpleNamespace(name="images", train=train))


def data(channels: int = 1) -> Dataset:
    """Classes of 12, 12 and 3 examples."""
    labels = [0, 1] * 12 + [2] * 3
    return noise_dataset(train=labels, valid=[0, 1, 2] * 2, n_classes=3, channels=channels)


def spec_of(name: str, images_per_class: int = 3, seed: int = 0) -> DistillationSpec:
    return DistillationSpec(images_per_class, parse_method(name, SMALL.get(name, "")), image_size=12, seed=seed)


def made(
    name: str, dataset: Dataset | None = None, start: DistillationState | None = None, **changes: int
) -> Distillation:
    return distill(dataset or data(), spec_of(name, **changes), CPU, "distilled:3", start)


@cache
def usual(name: str) -> tuple[Distillation, tuple[DistillationState, ...]]:
    """A distillation that several tests look at, with the states on its way."""
    return with_states(name)


def with_states(name: str) -> tuple[Distillation, tuple[DistillationState, ...]]:
    states: list[DistillationState] = []

    def keep(done: int, share: float, offered: Callable[[], DistillationState]) -> None:
        state = offered()
        assert (state.iteration, state.share) == (done, share)
        states.append(dataclasses.replace(state, tensors={key: each.clone() for key, each in state.tensors.items()}))

    return distill(data(), spec_of(name), CPU, "distilled:3", on_step=keep), tuple(states)


def images_of(result: Distillation) -> np.ndarray:
    return result.learned["images"].numpy()


@every_method
def test_a_method_says_what_it_is_and_its_settings_have_meanings_and_defaults(name: str) -> None:
    cls = methods[name]
    assert cls.name == name
    for text in (cls.__doc__, cls.summary, cls.source, cls.remedy):
        assert str(text).strip()
    assert any(character.isdigit() for character in cls.source), "the source names a year, section or equation"
    fields = settings_of(cls)
    assert len(fields) == len(dataclasses.fields(cls))
    assert fields[0].name == "iterations"
    assert all(field.metadata["help"] and field.default is not dataclasses.MISSING for field in fields)
    assert all(f"{field.name}={field.default}" in syntax_of(cls) for field in fields)
    assert parse_strategy(f"distilled:10,method={name}").subset_strategy.canonical.startswith("distilled:10")


@every_method
def test_the_canonical_spelling_reads_back_to_an_equal_method(name: str) -> None:
    method: Method = parse_method(name, SMALL.get(name, ""))
    again, _, settings = method.canonical.partition(",")
    assert parse_method(again, settings) == method
    assert parse_method(name, iterations=7).iterations == 7
    assert parse_method(name).canonical == name


@every_method
def test_images_are_so_many_of_each_class_and_what_is_kept_is_eight_bits_of_them(name: str, tmp_path: Path) -> None:
    dataset = data(channels=3)
    result = made(name, dataset, images_per_class=4)
    subset = result.subset
    # rank-agreement puts some of the smallest class aside.
    assert list(np.bincount(subset.train.labels))[:2] == [4, 4]
    assert 1 <= np.bincount(subset.train.labels)[2] <= 3
    assert subset.train.images.shape[1:] == (12, 12, 3)
    mean, std = (np.array(each).reshape(1, 3, 1, 1) for each in (dataset.preprocessing.mean, dataset.preprocessing.std))
    levels = np.clip(np.rint((images_of(result) * std + mean) * 255), 0, 255)
    assert np.abs(levels.transpose(0, 2, 3, 1) - subset.train.images).max() <= 1
    assert subset.valid is dataset.valid
    assert (subset.preprocessing.image_size, dataset.preprocessing.image_size) == (12, 8), (
        "they are trained on at the size that they were made at"
    )
    assert (subset.dataset_fingerprint, subset.n_source) == (dataset.fingerprint, 27)
    write_subset(subset, tmp_path)
    again = read_subset(tmp_path)
    assert (again.fingerprint, again.n_source, again.selection) == (subset.fingerprint, 27, subset.selection)


@every_method
def test_what_it_costs_is_counted_and_losses_are_those_of_all_iterations(name: str) -> None:
    result, _ = usual(name)
    assert result.cost.train_seconds > 0
    assert result.cost.examples_seen > 0
    assert result.cost.train_flops > 0
    assert result.subset.selection == result.cost
    assert [iteration for iteration, _ in result.losses] == list(range(1, result.process.iterations + 1))
    assert all(np.isfinite(loss) for _, loss in result.losses)


@every_method
def test_the_same_seed_gives_the_same_images_whatever_the_order_of_the_files(name: str) -> None:
    dataset = data()
    order = np.random.default_rng(0).permutation(len(dataset.train))
    other = dataclasses.replace(dataset, train=dataset.train.take(order))
    first = images_of(usual(name)[0])
    assert np.array_equal(images_of(made(name, other)), first)
    assert not np.array_equal(images_of(made(name, dataset, seed=1)), first)


@every_method
def test_one_that_goes_on_from_a_checkpoint_gives_the_images_of_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    whole, states = usual(name)
    if isinstance(whole.process, Agreement):
        assert whole.process.agreement is not None
        assert len(set(whole.process.agreement)) > 1
        assert whole.process.agreement.argmax() > 0, "what a choice without any accuracies would be"
    for state in (states[2], states[-2]):
        DistillationCheckpoint(state, "key", 1.5, state.iteration).save(tmp_path)
        checkpoint = DistillationCheckpoint.load(tmp_path)
        assert (checkpoint.run_key, checkpoint.wall_seconds) == ("key", 1.5)
        resumed = made(name, start=checkpoint.state)
        assert np.array_equal(images_of(resumed), images_of(whole))
        assert resumed.subset.fingerprint == whole.subset.fingerprint
        assert resumed.losses == whole.losses
        assert resumed.cost.examples_seen == whole.cost.examples_seen
        assert resumed.cost.train_flops == whole.cost.train_flops


@every_method
def test_one_that_stopped_between_two_losses_goes_on_to_the_same_losses_and_images(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil_module, "INTERVALS", 2)
    whole, states = with_states(name)
    total = whole.process.iterations
    assert [iteration for iteration, _ in whole.losses] == [(total + 1) // 2, total]
    losses = [loss for _, loss in usual(name)[0].losses]
    assert [loss for _, loss in whole.losses] == pytest.approx(
        [np.mean(losses[: (total + 1) // 2]), np.mean(losses[(total + 1) // 2 :])]
    )
    for state in (states[0], states[-2]):
        DistillationCheckpoint(state, "key", 1.5, state.iteration).save(tmp_path)
        resumed = made(name, start=DistillationCheckpoint.load(tmp_path).state)
        assert resumed.losses == whole.losses
        assert np.array_equal(images_of(resumed), images_of(whole))
        assert resumed.cost.examples_seen == whole.cost.examples_seen
    # Nobody asked this one for its states.
    assert made(name).losses == whole.losses


@every_method
def test_the_share_that_is_done_grows_with_each_iteration_to_the_whole(name: str) -> None:
    whole, states = usual(name)
    shares = [0.0, *(state.share for state in states)]
    steps = np.diff(shares)
    assert (steps > 0).all()
    assert shares[-1] == pytest.approx(1)
    uniform_iterations, pilots = np.split(steps, [whole.process.uniform_iterations])
    assert uniform_iterations == pytest.approx(uniform_iterations[0])
    assert (pilots > 5 * uniform_iterations[0]).all(), "a training is many iterations' work"


@every_method
@pytest.mark.parametrize("damage", ["another size", "nothing"])
def test_a_state_of_other_images_is_refused(name: str, damage: str) -> None:
    _, states = usual(name)
    tensors = {key: value[..., :-1] if value.dim() > 2 else value for key, value in states[0].tensors.items()}
    altered = dataclasses.replace(states[0], tensors=tensors if damage == "another size" else {})
    with pytest.raises(UserError, match="the checkpoint does not fit this distillation"):
        made(name, start=altered)
