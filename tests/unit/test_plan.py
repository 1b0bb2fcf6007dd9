"""The key decides whether a training is run again or taken as done, so it must hold all that changes a result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from made_up import digits, noise_dataset, random_scores

from proxyflow.distillation.methods import parse_method
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.errors import InvalidValue
from proxyflow.strategies import Strategy, parse_strategies, parse_strategy, strategies
from proxyflow.studies.plan import (
    PlannedTraining,
    StudySpec,
    common_configuration,
    distillation_key,
    epochs_for,
    example_counts,
    folds_for,
    in_order,
    plan_trainings,
    score_key,
    subset_key,
    training_key,
    training_work,
)
from proxyflow.subsets.subset import choose_subset
from proxyflow.training.grids import load_grid
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

DIGEST = 64
PLANNED = PlannedTraining("digits", parse_strategy("random:0.1"), Hyperparameters(), TrainingSettings(), 0, "fastai")


def study(spelling: str = "random:0.1 full epochs:2", **changes: Any) -> StudySpec:
    fields: dict[str, Any] = {
        "datasets": ("digits", "letters"),
        "strategies": parse_strategies(spelling),
        "grid": load_grid("demo"),
        "settings": TrainingSettings(epochs=4),
        "seeds": (0, 1),
        "engine": "fastai",
        "scoring_configuration": Hyperparameters(),
        "scoring": TrainingSettings(),
        **changes,
    }
    return StudySpec(**fields)


def key(
    planned: PlannedTraining = PLANNED,
    dataset: str = "d",
    subset: str = "s",
    image_size: int = 32,
    crop: str = "padded",
    precision: str = "fp32",
) -> str:
    return training_key(planned, dataset, subset, image_size, crop, precision)


def with_hyperparameters(**changes: Any) -> PlannedTraining:
    return dataclasses.replace(PLANNED, hyperparameters=Hyperparameters(**changes))


def with_settings(**changes: Any) -> PlannedTraining:
    return dataclasses.replace(PLANNED, settings=TrainingSettings(**changes))


CHANGES: dict[str, Callable[[], str]] = {
    "nothing": key,
    "data set": lambda: key(dataset="e"),
    "subset": lambda: key(subset="t"),
    "image size": lambda: key(image_size=64),
    "precision": lambda: key(precision="fp16"),
    "strategy": lambda: key(dataclasses.replace(PLANNED, strategy=parse_strategy("easiest:0.1"))),
    "seed": lambda: key(dataclasses.replace(PLANNED, seed=1)),
    "engine": lambda: key(dataclasses.replace(PLANNED, engine="fast")),
    "arch": lambda: key(with_hyperparameters(arch="xresnet18")),
    "learning rate": lambda: key(with_hyperparameters(learning_rate=0.01)),
    "stem 1": lambda: key(with_hyperparameters(stem_channels_1=4)),
    "stem 2": lambda: key(with_hyperparameters(stem_channels_2=4)),
    "flip": lambda: key(with_hyperparameters(flip_probability=0)),
    "optimizer": lambda: key(with_hyperparameters(optimizer="sgd")),
    "smoothing": lambda: key(with_hyperparameters(label_smoothing=0)),
    "epochs": lambda: key(with_settings(epochs=5)),
    "batch size": lambda: key(with_settings(batch_size=32)),
    "weight decay": lambda: key(with_settings(weight_decay=0.1)),
}


def test_everything_that_determines_a_result_changes_the_key_of_its_run() -> None:
    keys = {name: change() for name, change in CHANGES.items()}
    assert len(set(keys.values())) == len(keys)
    assert all(len(value) == DIGEST for value in keys.values())


@pytest.mark.parametrize(
    "planned", [with_settings(image_size=32), with_settings(precision="fp32"), with_settings(epochs="20.0")]
)
def test_what_auto_stands_for_written_out_is_the_same_run(planned: PlannedTraining) -> None:
    assert key(planned) == key()


@pytest.mark.parametrize("spelling", ["full", "half-classes:1.0", "other-half-classes:1.0", "epochs:2"])
def test_a_choice_without_chance_is_one_subset_for_all_seeds(spelling: str) -> None:
    strategy = parse_strategy(spelling)
    assert subset_key("data", strategy, 0, "") == subset_key("data", strategy, 1, "")


@pytest.mark.parametrize("spelling", ["random:0.1", "half-classes:0.5", "easiest:0.1", "hardest:0.1"])
def test_a_choice_by_chance_is_a_subset_per_seed(spelling: str) -> None:
    strategy = parse_strategy(spelling)
    assert subset_key("data", strategy, 0, "") != subset_key("data", strategy, 1, "")


def test_data_strategy_and_score_run_change_the_key_of_a_subset() -> None:
    easiest, hardest = parse_strategy("easiest:0.1"), parse_strategy("hardest:0.1")
    keys = [
        subset_key("data", easiest, 0, "run"),
        subset_key("other data", easiest, 0, "run"),
        subset_key("data", hardest, 0, "run"),
        subset_key("data", easiest, 0, "other run"),
    ]
    assert len(set(keys)) == 4


@dataclasses.dataclass(frozen=True)
class Training:
    hyperparameters: Hyperparameters
    settings: TrainingSettings
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Scoring:
    training: Training
    repeats: int = 1


def test_the_key_of_synthetic_images_has_all_that_they_depend_on() -> None:
    base = DistillationSpec(10, parse_method("distribution-matching"))
    keys = {
        distillation_key("data", base, 32),
        distillation_key("other", base, 32),
        distillation_key("data", base, 16),
        distillation_key("data", dataclasses.replace(base, images_per_class=1), 32),
        distillation_key("data", dataclasses.replace(base, seed=1), 32),
        *(
            distillation_key("data", dataclasses.replace(base, method=parse_method(name, settings)), 32)
            for name, settings in (
                ("distribution-matching", "width=16"),
                ("gradient-steps", ""),
                ("rank-agreement", ""),
            )
        ),
    }
    assert len(keys) == 8
    assert distillation_key("data", dataclasses.replace(base, image_size=16), 32) == distillation_key("data", base, 16)


def test_the_key_of_scores_has_their_model_their_repeats_and_their_data() -> None:
    base = Scoring(Training(Hyperparameters(), TrainingSettings()))
    other_model = Scoring(Training(Hyperparameters(arch="xresnet18"), TrainingSettings()))
    keys = {
        score_key("data", base, 32, "padded", "fp32"),
        score_key("other", base, 32, "padded", "fp32"),
        score_key("data", other_model, 32, "padded", "fp32"),
        score_key("data", dataclasses.replace(base, repeats=2), 32, "padded", "fp32"),
        score_key("data", base, 64, "padded", "fp32"),
        score_key("data", base, 32, "padded", "fp16"),
    }
    assert len(keys) == 6
    spelt_out = Scoring(Training(Hyperparameters(), TrainingSettings(image_size=32, precision="fp32")))
    assert score_key("data", spelt_out, 32, "padded", "fp32") == score_key("data", base, 32, "padded", "fp32")


@pytest.mark.parametrize("count", [4, 5, 20])
def test_a_proxy_of_as_many_epochs_as_the_target_is_refused(count: int) -> None:
    with pytest.raises(InvalidValue, match=f"strategy=epochs:{count} is not accepted: .*epochs=4"):
        study(f"full epochs:{count}")


def test_a_proxy_of_fewer_epochs_than_the_target_is_planned_at_its_own() -> None:
    planned = list(plan_trainings(study("full epochs:3 random:0.1")))
    epochs = {training.strategy.canonical: training.settings.epochs for training in planned}
    assert epochs == {"full": 4, "epochs:3": 3, "random:0.1": 4}


def test_every_combination_is_planned_once() -> None:
    spec = study()
    planned = list(plan_trainings(spec))
    assert len(planned) == len(set(planned)) == 2 * 3 * 8 * 2
    assert {training.dataset for training in planned} == set(spec.datasets)
    assert {training.seed for training in planned} == set(spec.seeds)
    assert {training.hyperparameters for training in planned} == set(spec.grid)


def test_target_and_proxies_of_one_configuration_are_planned_together_with_the_target_first() -> None:
    spec = study("random:0.1 epochs:2 full easiest:0.1")
    planned = list(plan_trainings(spec))
    together = groupby(planned, key=lambda training: (training.seed, training.hyperparameters, training.dataset))
    groups = [[training.strategy.canonical for training in group] for _, group in together]
    assert len(groups) == 2 * 8 * 2
    assert all(group == ["full", "random:0.1", "epochs:2", "easiest:0.1"] for group in groups)


def test_a_study_that_is_cut_short_has_whole_pairs_on_every_data_set() -> None:
    spec = study()
    first = list(plan_trainings(spec))[: len(spec.strategies) * len(spec.datasets)]
    assert {training.hyperparameters for training in first} == {spec.grid[0]}
    assert {training.dataset for training in first} == set(spec.datasets)


def test_a_training_is_titled_by_data_set_strategy_and_configuration() -> None:
    assert with_hyperparameters(learning_rate=0.01).title == "digits · random:0.1 · lr=0.01"


def test_the_scoring_model_has_the_network_of_the_grid_where_there_is_one() -> None:
    assert common_configuration(load_grid("demo")) == Hyperparameters(arch="xresnet18")
    assert common_configuration(load_grid("paper")) == Hyperparameters()
    # A study of small networks must not have to train the large default one for its scores.
    assert common_configuration(load_grid("paper-narrow")) == Hyperparameters(arch="xresnet18-w16")
    one_each = (Hyperparameters(arch="xresnet34"), Hyperparameters(arch="xresnet18"))
    assert common_configuration(one_each) == Hyperparameters(arch="xresnet34")


SPELLINGS = ["full", "random:0.1", "half-classes:0.5", "easiest:0.3,balance=class", "hardest:0.5,drop=0.05", "epochs:2"]
SPELLINGS += ["easiest:0.2,by=heldout_loss", "other-half-classes:1.0", "slice:0.2-0.9", "mix:0.3", "k-center:0.1"]
SPELLINGS += ["distilled:3", "classes:0+3+5,fraction=0.5", "herding:0.1,balance=class", "kmeans-coreset:0.2"]
# Which classes these choose is known only with scores, so of classes of different sizes their size is an estimate.
BY_CONFUSION = {"easiest-classes", "confusable-classes"}


CHOSEN = [strategy for strategy in parse_strategies(" ".join(SPELLINGS)) if not strategy.synthetic]


@pytest.mark.parametrize("strategy", CHOSEN, ids=lambda s: s.canonical)
def test_sizes_are_known_before_there_are_scores(strategy: Strategy) -> None:
    dataset = digits()
    subset = choose_subset(dataset, strategy, 3, random_scores(dataset.train))
    assert example_counts(dataset, strategy) == (len(subset.train), len(subset.valid), len(subset.classes))


def test_all_registered_strategies_have_their_sizes_known() -> None:
    assert set(strategies) - {spelling.partition(":")[0] for spelling in SPELLINGS} == BY_CONFUSION
    dataset = noise_dataset(train=[0, 1, 2, 3, 4] * 9, valid=[0, 1, 2, 3, 4] * 3, n_classes=5)
    assert example_counts(dataset, parse_strategy("other-half-classes:1")) == (18, 6, 2)
    assert example_counts(dataset, parse_strategy("distilled:3")) == (15, 15, 5)
    for name in BY_CONFUSION:
        assert example_counts(dataset, parse_strategy(f"{name}:3,fraction=0.5")) == (14, 9, 3)


def test_an_epoch_that_the_scoring_model_does_not_reach_is_refused_by_the_strategys_name() -> None:
    with pytest.raises(InvalidValue, match="by=el2n_epoch_30 is not accepted: it ranks by epoch 30, and the scoring"):
        study("full easiest:0.1,by=el2n_epoch_30")


def test_folds_and_epochs_are_scored_for_the_strategies_that_name_them() -> None:
    plain = parse_strategies("easiest:0.1 herding:0.1 full")
    assert (folds_for(*plain), epochs_for(*plain)) == (0, frozenset())
    named = parse_strategies(
        "hardest:0.5,by=heldout_loss easiest:0.1,by=el2n_epoch_3 mix:0.1,by=grand_last_layer_epoch_7"
    )
    assert (folds_for(*named), epochs_for(*named)) == (5, frozenset({3, 7}))


def test_work_grows_with_epochs_and_whole_batches_and_a_third_of_validation() -> None:
    settings = TrainingSettings(epochs=2, batch_size=64)
    assert training_work(10.0, 128, 300, settings) == pytest.approx(2 * 10 * (128 + 100))
    # The last short batch is dropped, but a subset that is smaller than a batch is one batch.
    assert training_work(10.0, 191, 0, settings) == pytest.approx(2 * 10 * 128)
    assert training_work(10.0, 50, 0, settings) == pytest.approx(2 * 10 * 50)


def ordered(spelling: str, **costs: float) -> list[PlannedTraining]:
    """A study in the order in which it is run, where a strategy's trainings cost what is given, else 100."""
    spec = study(spelling)
    return in_order(list(plan_trainings(spec)), lambda each: costs.get(each.strategy.canonical.split(":")[0], 100.0))


def test_cheap_proxies_come_with_their_target_and_dear_ones_after_them_the_cheapest_first() -> None:
    costs = {"random": 25.0, "epochs": 90.0, "easiest": 26.0, "hardest": 50.0}
    planned = ordered("epochs:2 easiest:0.3 full random:0.1 hardest:0.5", **costs)
    assert len(set(planned)) == len(planned) == 2 * 5 * 8 * 2
    for seed in (0, 1):
        of_seed = [each for each in planned if each.seed == seed]
        early = of_seed[: 2 * 2 * 8]
        for number, configuration in enumerate(load_grid("demo")):
            pairs = early[4 * number : 4 * number + 4]
            assert {each.hyperparameters for each in pairs} == {configuration}
            assert [each.strategy.canonical for each in pairs] == ["full", "random:0.1"] * 2
        late = [each.strategy.canonical for each in of_seed[2 * 2 * 8 :]]
        assert [name for name, _ in groupby(late)] == ["easiest:0.3", "hardest:0.5", "epochs:2"]


def test_a_seed_is_done_before_the_next() -> None:
    seeds = [each.seed for each in ordered("full random:0.1 epochs:2", random=1.0)]
    assert seeds == sorted(seeds)


def test_without_a_target_the_dearest_stands_for_it() -> None:
    planned = ordered("hardest:0.5 random:0.1 easiest:0.3", random=10.0, easiest=50.0)
    order = [name for name, _ in groupby(each.strategy.canonical for each in planned if each.seed == 0)]
    assert order == ["random:0.1", "easiest:0.3", "hardest:0.5"]
