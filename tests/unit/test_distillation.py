"""The rules around synthetic images: what is refused before the start, how they are shown, and what they look like."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_training import CPU, few_digits, planned_of, spec_of
from made_up import digits, noise_dataset
from PIL import Image

from proxyflow.cli.train import _named_subset
from proxyflow.core.errors import InvalidValue, TrainingFailed, UserError
from proxyflow.distillation import agreement
from proxyflow.distillation import memory_estimate as rehearsal
from proxyflow.distillation.agreement import PILOTS, Agreement, split_off
from proxyflow.distillation.distill import distill, estimate_seconds, subset_of
from proxyflow.distillation.memory_estimate import estimate_memory
from proxyflow.distillation.pictures import draw_contact_sheet
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.distillation.unrolling import Unrolling, split_by_step
from proxyflow.proxies import parse_proxy
from proxyflow.scores.table import SelectionCost
from proxyflow.strategies import parse_strategy
from proxyflow.strategies.distillation_methods import DistributionMatching, RankAgreement, parse_method
from proxyflow.strategies.distilled import Distilled
from proxyflow.studies import subsets
from proxyflow.studies.estimate import Sizes
from proxyflow.studies.forecast import _distillation
from proxyflow.studies.plan import PlannedTraining
from proxyflow.studies.tasks import SubsetRef
from proxyflow.studies.trainings import apply_budget
from proxyflow.subsets import choose_subset
from proxyflow.trainers import Job
from proxyflow.trainers.images import memory
from proxyflow.trainers.images.grids import grids
from proxyflow.trainers.images.models import build_model, flops_per_example

TINY = DistillationSpec(2, parse_method("distribution-matching", "iterations=2,width=4,depth=2,real_per_class=4"), 12)


def test_a_distillation_that_does_not_fit_is_refused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = estimate_memory(TINY.method, Problem.of(digits(), TINY, CPU)).n_bytes
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Free", (), {"available": needed}))
    with pytest.raises(
        InvalidValue, match=r"memory=.* MB is not accepted.*fewer images_per_class, a smaller image_size"
    ):
        distill(digits(), TINY, CPU, "made")
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Free", (), {"available": 2 * needed}))
    assert len(distill(digits(), TINY, CPU, "made").subset.train) == 20


def estimate(settings: str = "", **changes: int) -> rehearsal.MemoryEstimate:
    name = "gradient-steps" if "steps" in settings else "distribution-matching"
    spec = DistillationSpec(
        **{"images_per_class": 10, "image_size": 16, **changes}, method=parse_method(name, settings)
    )
    return estimate_memory(spec.method, Problem.of(digits(), spec, CPU))


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (estimate("width=16"), estimate("width=32")),
        (estimate(), estimate(image_size=32)),
        (estimate("width=64"), estimate("width=64", images_per_class=40)),
        (estimate("steps=10,epochs=1"), estimate("steps=10,epochs=3")),
        (estimate("steps=10,batch=64"), estimate("steps=10,batch=1024")),
    ],
)
def test_the_estimate_grows_with_what_takes_memory_and_work(
    less: rehearsal.MemoryEstimate, more: rehearsal.MemoryEstimate
) -> None:
    assert more.n_bytes > 1.1 * less.n_bytes
    assert more.flops > 1.3 * less.flops


def test_the_estimate_holds_what_trainings_among_the_iterations_take() -> None:
    method = parse_method("rank-agreement", "iterations=1")
    spec = DistillationSpec(1, method, 16)
    small, large = (
        estimate_memory(each, Problem.of(digits(), spec, CPU)).n_bytes
        for each in (method, dataclasses.replace(method, pilot_batch=512))
    )
    weights = sum(parameter.nbytes for parameter in build_model(PILOTS[0], 10, 0).parameters())
    assert small > 4 * weights, "with gradients and averages"
    assert large > small + (512 - 64) * 32 * 8 * 8 * 4, "one layer's output of a larger batch"


def test_operations_are_those_of_the_convolutions() -> None:
    problem = Problem.of(digits(), TINY, CPU)
    per_image = 2 * 9 * (1 * 4 * 12 * 12 + 4 * 4 * 6 * 6)
    real, own = 10 * 4, 20
    # Real images go forward, synthetic ones forward and back to the pixels.
    assert estimate_memory(TINY.method, problem).flops == (real + 2 * own) * per_image


def test_a_class_without_examples_is_refused() -> None:
    dataset = noise_dataset(train=[0, 1] * 4, valid=[0, 1], n_classes=3)
    with pytest.raises(UserError, match="no training example of class class 2"):
        Problem.of(dataset, TINY, CPU)


def test_too_few_examples_to_judge_pilots_by_are_refused() -> None:
    dataset = noise_dataset(train=[0, 1] * 4, valid=[0, 1], n_classes=2)
    with pytest.raises(UserError, match=r"of 8 that is 1 for 2 classes: use distribution-matching"):
        split_off(dataset.train, 0)


def test_a_loss_that_is_no_number_fails_with_what_to_change() -> None:
    method = parse_method("distribution-matching", "iterations=20,width=4,depth=2,real_per_class=4,learning_rate=1e30")
    with pytest.raises(
        TrainingFailed, match=r"distribution-matching diverged before iteration .* smaller learning_rate"
    ):
        distill(digits(), dataclasses.replace(TINY, method=method), CPU, "made")


@pytest.mark.parametrize(
    ("name", "settings", "advice"),
    [
        ("gradient-steps", "iterations=4,steps=2,epochs=2,batch=20,first_rate=1e30", "a smaller first_rate .* or"),
        ("rank-agreement", "iterations=3", "use distribution-matching with a smaller learning_rate"),
    ],
)
def test_what_to_change_after_a_divergence_is_a_setting_that_there_is(
    name: str, settings: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RankAgreement, "matching", DistributionMatching(iterations=3, learning_rate=1e30))
    spec = dataclasses.replace(TINY, method=parse_method(name, settings))
    with pytest.raises(TrainingFailed, match=f"{name} diverged before iteration .*: .*{advice}"):
        distill(digits(), spec, CPU, "made")


@pytest.mark.parametrize(
    ("channels", "settings", "rate"),
    [(1, "", 0.02), (1, "network=alexnet", 0.001), (3, "", 0.001), (3, "first_rate=0.5", 0.5)],
)
def test_steps_begin_with_the_rate_that_is_published_for_their_network(
    channels: int, settings: str, rate: float
) -> None:
    dataset = noise_dataset(train=[0, 1] * 4, valid=[0, 1], n_classes=2, channels=channels)
    method = parse_method("gradient-steps", settings)
    process = Unrolling(method, Problem.of(dataset, DistillationSpec(2, method, 32), CPU))
    assert process.rates.tolist() == pytest.approx([rate] * len(process.rates), rel=1e-4)


def test_time_is_told_before_it_is_spent() -> None:
    assert estimate_seconds(digits(), TINY, CPU, speed=1e9) < 10


def test_every_step_has_every_class_and_no_step_is_empty() -> None:
    labels = np.repeat([0, 1, 2], [4, 4, 1])
    parts = split_by_step(labels, 2)
    assert sorted(np.concatenate(parts)) == list(range(9))
    assert [sorted(set(labels[part])) for part in parts] == [[0, 1, 2], [0, 1]]
    assert len(split_by_step(labels, 10)) == 4


def test_pilots_are_in_no_grid_that_studies_come_with() -> None:
    assert len(set(PILOTS)) == 8
    for make in grids.values():
        assert not set(PILOTS) & set(make())


def test_pilots_are_judged_by_examples_that_neither_they_nor_the_images_saw() -> None:
    method = parse_method("rank-agreement", "iterations=1")
    process = Agreement(method, Problem.of(digits(), DistillationSpec(2, method, 12), CPU))
    rest, judges = process.rest.train, process.held_out
    assert len(judges) == 259
    assert len(rest) + len(judges) == 1297
    assert not set(rest.ids) & set(judges.ids)
    assert set(judges.labels) == set(range(10))
    assert set(process.matching.problem.dataset.train.ids) == set(rest.ids)


@pytest.mark.parametrize(
    ("per_class", "settings", "of_candidates"), [(10, "", 32), (2, "", 32), (10, "pilot_share=0.5", 16)]
)
def test_pilots_take_as_many_steps_on_candidates_as_on_the_real_data(
    per_class: int, settings: str, of_candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = parse_method("rank-agreement", f"iterations=1,{settings}")
    process = Agreement(method, Problem.of(digits(), DistillationSpec(per_class, method, 12), CPU))
    taken: list[int] = []

    def train(job: Job) -> SimpleNamespace:
        batch_size = job.configuration["batch_size"]
        taken.append(job.epochs * (len(job.subset.train) // batch_size))
        examples = taken[-1] * batch_size
        flops = examples * flops_per_example(job.configuration, 10, 12)
        return SimpleNamespace(result=SimpleNamespace(best=0.5, examples_seen=examples, train_flops=flops))

    monkeypatch.setattr(agreement, "ImageTrainer", lambda **settings: SimpleNamespace(train=train))
    done = [process.step(iteration) for iteration in range(process.iterations)][process.uniform_iterations :]
    assert taken == 8 * [32, *method.candidates * [of_candidates]]
    assert process.summary()["pilot_steps"] == {"real data": 32, "candidates": of_candidates}
    # What is told before the start holds what pilots are judged by as well.
    judged = method.pilot_epochs * len(process.held_out) / 3
    assert process.pilot_flops() == pytest.approx(
        sum(step.flops + judged * step.flops / step.examples for step in done if step.flops is not None)
    )


def test_the_candidate_that_ranks_most_like_the_real_data_is_chosen_and_ties_go_to_the_first() -> None:
    method = parse_method("rank-agreement", "iterations=1")
    process = Agreement(method, Problem.of(digits(), DistillationSpec(1, method, 12), CPU))
    assert process.agreement is None
    process.candidates[:] = torch.arange(len(process.candidates)).view(-1, 1, 1, 1, 1)
    real = torch.linspace(0.1, 0.8, 8, dtype=torch.float64)
    process.accuracies[:, 0] = real
    process.accuracies[:, 1:] = 0.5
    assert process.agreement is not None
    assert float(process.images.mean()) == 0
    process.accuracies[:, 2] = -real
    process.accuracies[:, 3:5] = (real**2).view(-1, 1)
    assert list(process.agreement) == [0, -1, 1, 1]
    assert float(process.images.mean()) == 2
    assert process.summary()["chosen"] == "start 1, iteration 0"


def planned(strategy: str, batch_size: int = 64) -> PlannedTraining:
    return planned_of(strategy, spec_of(4, image_size=None, batch_size=batch_size))


@pytest.mark.parametrize(
    ("strategy", "batch_size", "passes", "used"),
    [
        ("distilled:10", 64, 1, 50),  # a tenth of 1,297 is 1.3 times 100, which two batches of 50 show whole
        ("distilled:1", 64, 13, 10),
        ("distilled:10,share=1.0", 64, 13, 61),
        ("distilled:1,share=0.5", 64, 65, 10),
        ("distilled:10,budget=steps,share=1.0", 64, 12, 60),
        ("distilled:1,budget=steps,share=1.0", 64, 20, 10),  # 20 steps of 10
        ("distilled:1,budget=steps", 64, 2, 10),
        ("distilled:10,budget=steps", 64, 1, 50),
        ("distilled:10,budget=epochs", 64, 1, 50),
        ("distilled:1,budget=epochs", 64, 1, 10),
    ],
)
def test_few_images_are_shown_as_often_as_the_budget_says(
    strategy: str, batch_size: int, passes: int, used: int
) -> None:
    training = planned(strategy, batch_size)
    count = int(strategy.partition(":")[2].partition(",")[0])
    dataset = digits()
    start = Problem.of(dataset, dataclasses.replace(TINY, images_per_class=count), CPU).start
    images = dataset.train.take(start)
    subset = subset_of(dataset, TINY, strategy, images.images, images.labels, SelectionCost())
    shown, spec, found = apply_budget(training, subset)
    assert (found, spec.configuration["batch_size"], len(shown.train)) == (passes, used, passes * 10 * count)
    assert len(shown.train) % used <= len(shown.train) // used, "at most one example for each batch is not shown"
    assert len(set(shown.train.ids)) == len(shown.train), "each showing is augmented by draws of its own"
    assert set(shown.train.content_hashes) == set(subset.train.content_hashes)
    assert spec.epochs == 4


@pytest.mark.parametrize("chosen", [2, 10, 27, 64, 65, 100, 650])
@pytest.mark.parametrize("batch_size", [2, 32, 64])
def test_a_budget_of_steps_is_kept_as_near_as_whole_passes_come(chosen: int, batch_size: int) -> None:
    available = 1038
    epoch_plan = Distilled(10, budget="steps", share=1.0).epoch_plan(chosen, available, batch_size)
    steps = epoch_plan.passes * chosen // epoch_plan.batch_size
    assert steps == pytest.approx(available // batch_size, rel=0.1 if batch_size > 2 else 0.3)
    assert 2 <= epoch_plan.batch_size <= batch_size, "batch norm takes no batch of one"


def test_real_images_are_shown_as_they_are() -> None:
    assert apply_budget(planned("random:0.1"), few_digits()) == (few_digits(), planned("random:0.1").spec, 1)


def test_budgets_share_one_set_of_images() -> None:
    spellings = ("distilled:10", "distilled:10,share=1.0", "distilled:10,budget=steps", "distilled:10,budget=epochs")
    assert {parse_strategy(each).subset_strategy.canonical for each in spellings} == {"distilled:10"}
    other = parse_strategy("distilled:10,iterations=300,share=1.0").subset_strategy.canonical
    assert other == "distilled:10,iterations=300"


def test_a_dry_run_counts_the_trainings_among_the_iterations() -> None:
    context = SimpleNamespace(dataset=lambda name: digits())
    training = planned("distilled:10,method=rank-agreement")
    making = _distillation(context, training, SubsetRef("run", "fingerprint", "", 0), speed=1.0)  # type: ignore[arg-type]
    assert making.iterations == 2 * 300 + 8 * 7


def test_images_of_a_run_are_trained_on_by_each_budget_and_by_no_other_strategy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = digits()
    images = dataset.train.take(np.arange(20))
    subset = subset_of(dataset, TINY, "distilled:2", images.images, images.labels, SelectionCost())
    monkeypatch.setattr(subsets, "load_subset", lambda context, run_id: subset)
    for asked, taken in (("full", "distilled:2"), ("distilled:2,share=1.0", "distilled:2,share=1.0")):
        _, _, strategy = _named_subset(SimpleNamespace(), "run", parse_proxy(asked))  # type: ignore[arg-type]
        assert strategy.canonical == taken
    with pytest.raises(InvalidValue, match=r"subset=run was selected by distilled:2; leave out distilled:3,share=1.0"):
        _named_subset(SimpleNamespace(), "run", parse_proxy("distilled:3,share=1.0"))  # type: ignore[arg-type]


def test_what_is_made_is_not_chosen() -> None:
    with pytest.raises(UserError, match=r"distilled:10 generates its examples: use the entry point distill"):
        choose_subset(digits(), parse_strategy("distilled:10"), 0)


def test_a_sheet_has_a_row_for_each_class(tmp_path: Path) -> None:
    pixels = np.arange(3, dtype=np.uint8).repeat(32 * 32).reshape(3, 32, 32, 1) * 100
    draw_contact_sheet(pixels, np.array([0, 0, 1]), tmp_path / "sheet.png")
    drawn = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert drawn.shape == (2 * 66 - 2, 2 * 66 - 2)
    assert [drawn[0, 0], drawn[0, 66], drawn[66, 0], drawn[66, 66]] == [0, 100, 200, 255]


def test_work_is_that_of_the_images_as_often_as_they_are_shown() -> None:
    context = SimpleNamespace(dataset=lambda name: digits())
    sizes = Sizes(context)  # type: ignore[arg-type]
    once, often = (sizes.of(planned(each)) for each in ("distilled:1,budget=epochs", "distilled:1,share=1.0"))
    assert once.n_train == often.n_train == 10
    validated = 500 / 3
    assert often.work / once.work == pytest.approx((130 * 10 + validated) / (10 + validated))
    few, real = sizes.of(planned("distilled:10")), sizes.of(planned("random:0.1"))
    assert few.work == pytest.approx(real.work, rel=0.3)
