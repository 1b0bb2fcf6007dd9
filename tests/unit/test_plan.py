"""The key decides whether a training is run again or taken as done, so it must hold all that changes a result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import groupby
from types import SimpleNamespace
from typing import Any, cast

import pytest
from image_training import CPU, few_digits, planned_of, spec_of
from made_up import digits, noise_dataset, random_scores
from proxyflow_example.trainers import Surface

from proxyflow.core.errors import InvalidValue
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.proxies import data_of, parse_proxies, parse_proxy
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.spaces.grids import grid_of
from proxyflow.strategies import Strategy, parse_strategy, strategies
from proxyflow.strategies.distillation_methods import parse_method
from proxyflow.studies.context import StudyContext
from proxyflow.studies.keys import key_of_training, key_of_training_on
from proxyflow.studies.plan import (
    PlannedTraining,
    StudySpec,
    distillation_key,
    epochs_for,
    example_counts,
    folds_for,
    order_trainings,
    plan_trainings,
    score_key,
    subset_key,
    training_key,
    training_work,
)
from proxyflow.subsets.subset import choose_subset
from proxyflow.trainers import ImageTrainer
from proxyflow.trainers.images.grids import demo_grid

DIGEST = 64
PLANNED = planned_of("random:0.1", spec_of(image_size=None))
IDENTITY = PLANNED.spec.trainer.identity(digits(), CPU)
CONTEXT = cast(StudyContext, SimpleNamespace(chosen_device=CPU))


def study(spelling: str = "random:0.1 full epochs:2", **changes: Any) -> StudySpec:
    fields: dict[str, Any] = {
        "datasets": ("digits", "letters"),
        "strategies": parse_proxies(spelling),
        "grid": demo_grid(),
        "trainer": ImageTrainer(),
        "epochs": 4,
        "seeds": (0, 1),
        **changes,
    }
    return StudySpec(**fields)


def key(planned: PlannedTraining = PLANNED, dataset: str = "d", subset: str = "s", **identity: Any) -> str:
    return training_key(planned, dataset, subset, {**IDENTITY, **identity})


def with_spec(**changes: Any) -> PlannedTraining:
    return dataclasses.replace(PLANNED, spec=dataclasses.replace(PLANNED.spec, **changes))


def with_trainer(**settings: Any) -> PlannedTraining:
    return with_spec(trainer=ImageTrainer(**settings))


OTHER_VALUES = {
    "arch": "xresnet18",
    "learning_rate": 0.01,
    "stem_channels_1": 4,
    "stem_channels_2": 4,
    "flip_probability": 0,
    "optimizer": "sgd",
    "label_smoothing": 0,
    "batch_size": 16,
    "weight_decay": 0.1,
    "weights": f"file:{__file__}",
    "freeze": 0.5,
}
CHANGES: dict[str, Callable[[], str]] = {
    "nothing": key,
    "data set": lambda: key(dataset="e"),
    "subset": lambda: key(subset="t"),
    "strategy": lambda: key(with_spec(proxy=parse_proxy("easiest:0.1"))),
    "epochs": lambda: key(with_spec(epochs=5)),
    "seed": lambda: key(with_spec(seed=1)),
    "trainer": lambda: key(with_spec(trainer=Surface())),
    **{f"identity: {name}": lambda name=name: key(**{name: "other"}) for name in (*IDENTITY, "further")},
    **{
        name: lambda change={name: value}: key(with_spec(configuration=PLANNED.spec.configuration.replace(**change)))
        for name, value in OTHER_VALUES.items()
    },
}


def test_everything_that_determines_a_result_changes_the_key_of_its_run() -> None:
    assert set(OTHER_VALUES) == set(PLANNED.spec.configuration)
    keys = {name: change() for name, change in CHANGES.items()}
    assert len(set(keys.values())) == len(keys)
    assert all(len(value) == DIGEST for value in keys.values())


def test_nothing_else_changes_it() -> None:
    """Not the data set's name, and no setting that says what it would be anyway."""
    again = PLANNED.spec.configuration.replace(learning_rate="3e-3", batch_size="32", flip_probability=0.5)
    same = [dataclasses.replace(PLANNED, dataset="folder:/digits"), with_spec(configuration=again)]
    assert {key(planned) for planned in same} == {key()}
    own = digits().preprocessing.image_size
    spelt_out = [{}, {"image_size": own}, {"precision": "fp32"}, {"engine": "fast"}]
    keys = {key_of_training(CONTEXT, with_trainer(**settings), digits(), "s") for settings in spelt_out}
    assert keys == {training_key(PLANNED, digits().fingerprint, "s", IDENTITY)}


def test_a_number_is_the_same_hyperparameter_however_it_is_written() -> None:
    values: list[dict[str, Any]] = [{"x": 1, "y": 0.5}, {"x": 1.0, "y": 0.5}]
    grids = [grid_of([each], "grid", None) for each in values]
    assert len({key(with_spec(configuration=grid[0])) for grid in grids}) == 1


def test_every_setting_that_changes_what_is_trained_changes_the_key() -> None:
    settings = [{}, {"image_size": 16}, {"image_size": 24, "precision": "bf16"}, {"engine": "fastai"}]
    keys = {key_of_training(CONTEXT, with_trainer(**each), digits(), "s") for each in settings}
    assert len(keys) == 4
    others = [Surface(), Surface(noise=0.5)]
    keys = {training_key(with_spec(trainer=each), "d", "s", each.identity(digits(), None)) for each in others}
    assert len(keys) == 2, "unless a trainer says otherwise, all of its settings count"


def test_the_key_is_the_same_from_the_plan_and_from_the_subset_that_was_loaded() -> None:
    subset = few_digits()
    planned = key_of_training(CONTEXT, PLANNED, digits(), subset.fingerprint)
    assert key_of_training_on(CONTEXT, PLANNED, subset) == planned


@pytest.mark.parametrize("spelling", ["full", "half-classes:1.0", "other-half-classes:1.0", "distilled:2"])
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
    def key_of(dataset: str = "data", identity: dict[str, Any] | None = None, **changes: Any) -> str:
        training = changes.pop("training", spec_of(20))
        return score_key(dataset, ScoringSpec(training, **changes), {**IDENTITY, **(identity or {})})

    keys = [
        key_of(),
        key_of("other"),
        key_of(training=spec_of(20, arch="xresnet18")),
        key_of(training=spec_of(20, seed=1)),
        key_of(training=spec_of(19)),
        key_of(repeats=2),
        key_of(holdout_folds=5),
        key_of(early=(1, 2)),
        *(key_of(identity={name: "other"}) for name in IDENTITY),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(early=(2, 5, 10)) == key_of(), "these are the usual epochs"


@pytest.mark.parametrize("count", [4, 5, 20])
def test_a_proxy_of_as_many_epochs_as_the_target_is_refused(count: int) -> None:
    with pytest.raises(InvalidValue) as raised:
        study(f"full epochs:{count}")
    assert (raised.value.name, raised.value.value) == ("strategy", f"epochs:{count}")


def test_a_proxy_of_fewer_epochs_than_the_target_is_planned_at_its_own() -> None:
    planned = list(plan_trainings(study("full epochs:3 random:0.1")))
    epochs = {training.strategy.canonical: training.spec.epochs for training in planned}
    assert epochs == {"full": 4, "epochs:3": 3, "random:0.1": 4}


def test_every_combination_is_planned_once() -> None:
    spec = study()
    planned = list(plan_trainings(spec))
    assert len(planned) == len(set(planned)) == 2 * 3 * 8 * 2
    assert {training.dataset for training in planned} == set(spec.datasets)
    assert {training.spec.seed for training in planned} == set(spec.seeds)
    assert {training.spec.configuration for training in planned} == set(spec.grid)


def test_target_and_proxies_of_one_configuration_are_planned_together_with_the_target_first() -> None:
    spec = study("random:0.1 epochs:2 full easiest:0.1")
    planned = list(plan_trainings(spec))
    together = groupby(
        planned, key=lambda training: (training.spec.seed, training.spec.configuration, training.dataset)
    )
    groups = [[training.strategy.canonical for training in group] for _, group in together]
    assert len(groups) == 2 * 8 * 2
    assert all(group == ["full", "random:0.1", "epochs:2", "easiest:0.1"] for group in groups)


def test_a_study_that_is_cut_short_has_whole_pairs_on_every_data_set() -> None:
    spec = study()
    first = list(plan_trainings(spec))[: len(spec.strategies) * len(spec.datasets)]
    assert {training.spec.configuration for training in first} == {spec.grid[0]}
    assert {training.dataset for training in first} == set(spec.datasets)


def test_a_training_is_titled_by_data_set_strategy_and_configuration() -> None:
    planned = with_spec(configuration=PLANNED.spec.configuration.replace(learning_rate=0.01))
    assert planned.title == "digits · random:0.1 · arch=xresnet10-w16,lr=0.01,bs=32"


SPELLINGS = ["full", "random:0.1", "half-classes:0.5", "easiest:0.3,balance=class", "hardest:0.5,drop=0.05"]
SPELLINGS += ["easiest:0.2,by=heldout_loss", "other-half-classes:1.0", "slice:0.2-0.9", "mix:0.3", "k-center:0.1"]
SPELLINGS += ["distilled:3", "classes:0+3+5,fraction=0.5", "herding:0.1,balance=class", "kmeans-coreset:0.2"]
SPELLINGS += ["coverage:0.3", "prototypes:0.2"]
SPELLINGS += ["curriculum:0.25"]
# Which classes these choose is known only with scores, so of classes of different sizes their size is an estimate.
BY_CONFUSION = {"easiest-classes", "confusable-classes"}


CHOSEN = [strategy for strategy in map(parse_strategy, SPELLINGS) if not strategy.synthetic]


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
    with pytest.raises(InvalidValue) as raised:
        study("full easiest:0.1,by=el2n_epoch_30")
    assert (raised.value.name, raised.value.value) == ("strategy", "easiest:0.1,by=el2n_epoch_30")


def test_folds_and_epochs_are_scored_for_the_strategies_that_name_them() -> None:
    plain = data_of(parse_proxies("easiest:0.1 herding:0.1 full"))
    assert (folds_for(*plain), epochs_for(*plain)) == (0, frozenset())
    spellings = "hardest:0.5,by=heldout_loss easiest:0.1,by=el2n_epoch_3 mix:0.1,by=grand_last_layer_epoch_7"
    named = data_of(parse_proxies(spellings))
    assert (folds_for(*named), epochs_for(*named)) == (5, frozenset({3, 7}))


def test_work_grows_with_epochs_and_whole_batches_and_a_third_of_validation() -> None:
    assert training_work(10.0, 128, 300, epochs=2, batch_size=64) == pytest.approx(2 * 10 * (128 + 100))
    # The last short batch is dropped, but a subset that is smaller than a batch is one batch.
    assert training_work(10.0, 191, 0, epochs=2, batch_size=64) == pytest.approx(2 * 10 * 128)
    assert training_work(10.0, 50, 0, epochs=2, batch_size=64) == pytest.approx(2 * 10 * 50)
    assert training_work(10.0, 191, 0, epochs=2) == pytest.approx(2 * 10 * 191)


def ordered(spelling: str, **costs: float) -> list[PlannedTraining]:
    """A study in the order in which it is run, where a strategy's trainings cost what is given, else 100."""
    spec = study(spelling)
    return order_trainings(
        list(plan_trainings(spec)), lambda each: costs.get(each.strategy.canonical.split(":")[0], 100.0)
    )


def test_cheap_proxies_come_with_their_target_and_dear_ones_after_them_the_cheapest_first() -> None:
    costs = {"random": 25.0, "epochs": 90.0, "easiest": 26.0, "hardest": 50.0}
    planned = ordered("epochs:2 easiest:0.3 full random:0.1 hardest:0.5", **costs)
    assert len(set(planned)) == len(planned) == 2 * 5 * 8 * 2
    for seed in (0, 1):
        of_seed = [each for each in planned if each.spec.seed == seed]
        early = of_seed[: 2 * 2 * 8]
        for number, configuration in enumerate(demo_grid()):
            pairs = early[4 * number : 4 * number + 4]
            assert {each.spec.configuration for each in pairs} == {configuration}
            assert [each.strategy.canonical for each in pairs] == ["full", "random:0.1"] * 2
        late = [each.strategy.canonical for each in of_seed[2 * 2 * 8 :]]
        assert [name for name, _ in groupby(late)] == ["easiest:0.3", "hardest:0.5", "epochs:2"]


def test_a_seed_is_done_before_the_next() -> None:
    seeds = [each.spec.seed for each in ordered("full random:0.1 epochs:2", random=1.0)]
    assert seeds == sorted(seeds)


def test_without_a_target_the_dearest_stands_for_it() -> None:
    planned = ordered("hardest:0.5 random:0.1 easiest:0.3", random=10.0, easiest=50.0)
    order = [name for name, _ in groupby(each.strategy.canonical for each in planned if each.spec.seed == 0)]
    assert order == ["random:0.1", "easiest:0.3", "hardest:0.5"]
