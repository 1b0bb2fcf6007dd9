"""A trainer that keeps its models to itself can be studied, but for what looks into models: that is refused by type."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from image_training import CPU, planned_of, spec_of
from made_up import digits, noise_dataset
from proxyflow_example.trainers import Surface

from proxyflow.core.errors import InvalidValue
from proxyflow.proxies import parse_proxies, parse_proxy
from proxyflow.scoring.scorer import score_examples
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.spaces.space import Space
from proxyflow.studies.dependencies import distillation_of, scoring_spec
from proxyflow.studies.estimate import Sizes, calibrate, unit_of
from proxyflow.studies.plan import PlannedTraining
from proxyflow.studies.scores import NoScores
from proxyflow.studies.support import Unsupported, check_strategy
from proxyflow.studies.trainings import SaveOptions
from proxyflow.trainers import ImageTrainer, TrainingSpec
from proxyflow.trainers.model_access import NoModelAccess

CONFIGURATION = Space.around([], {"width": 0.5}).configuration({"width": 0.5})
SPEC = TrainingSpec(CONFIGURATION, 3, 0, Surface())
CONTEXT: Any = SimpleNamespace(dataset=lambda name: digits(), device=CPU)


def planned(strategy: str) -> PlannedTraining:
    return planned_of(strategy, SPEC)


def test_scores_need_it() -> None:
    with pytest.raises(NoModelAccess) as raised:
        scoring_spec(Surface(), (CONFIGURATION,), 3, parse_proxies("full easiest:0.1"))
    assert (raised.value.trainer, raised.value.exit_status) == ("surface", 2)
    with pytest.raises(NoModelAccess):
        score_examples(digits(), ScoringSpec(SPEC), CPU)


@pytest.mark.parametrize("save", [SaveOptions(weights=True), SaveOptions(model=True)])
def test_saving_a_model_needs_it(save: SaveOptions) -> None:
    with pytest.raises(NoModelAccess):
        save.check(Surface())
    save.check(ImageTrainer())
    SaveOptions().check(Surface())


@pytest.mark.parametrize("trainer", [Surface(), ImageTrainer(engine="fastai")])
def test_checkpoints_need_a_trainer_that_keeps_them(trainer: Any) -> None:
    with pytest.raises(InvalidValue) as raised:
        SaveOptions(checkpoints=True).check(trainer)
    assert raised.value.name == "resume_training"
    SaveOptions(checkpoints=True).check(ImageTrainer())


def test_synthetic_images_need_a_trainer_of_images() -> None:
    with pytest.raises(InvalidValue) as raised:
        distillation_of(planned("distilled:3"))
    assert (raised.value.name, raised.value.value) == ("strategy", "distilled:3")
    assert distillation_of(planned_of("distilled:3", spec_of())).image_size == 8


def test_without_operations_work_is_counted_in_examples_and_nothing_is_tried_out() -> None:
    sizes = Sizes(CONTEXT)
    tenth, epoch = sizes.of(planned("random:0.1")), sizes.of(planned("full"))
    validated = 500 / 3
    assert tenth.work == pytest.approx(3 * (130 + validated))
    assert epoch.work == pytest.approx(3 * (1297 + validated))
    assert unit_of(Surface()) == "examples_seen"
    assert not calibrate(CONTEXT, digits(), planned("full")).known


@pytest.mark.parametrize(("needs", "of_predictions"), [({"loss", "margin"}, True), ({"embeddings"}, False)])
def test_without_scores_the_remedy_is_one_that_helps(needs: set[str], of_predictions: bool) -> None:
    error = NoScores("rows", needs, "a reason")
    assert (error.dataset, error.needs, error.exit_status) == ("rows", needs, 2)
    assert ("predictions=FILE" in str(error)) is of_predictions


def test_folds_are_not_asked_of_data_whose_scores_are_there() -> None:
    few = noise_dataset([0, 1, 0, 1], [0, 1], 2)
    context: Any = SimpleNamespace(dataset=lambda name: few)
    strategy = parse_proxy("easiest:0.9,by=heldout_loss")
    for scores, trainer in (("latest", Surface()), ("auto", Surface()), ("some-run", ImageTrainer())):
        check_strategy(context, "noise", strategy, scores, trainer)
    with pytest.raises(Unsupported):
        check_strategy(context, "noise", strategy, "latest", ImageTrainer())
