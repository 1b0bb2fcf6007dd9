"""What a data set cannot support is known before anything is trained, and all else can be trained on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from image_training import spec_of, train
from made_up import noise_dataset, random_scores

from proxyflow.core.errors import InvalidValue
from proxyflow.core.spelling import syntax_of
from proxyflow.data.protocol import Dataset
from proxyflow.proxies import parse_proxies, parse_proxy
from proxyflow.strategies import Full, parse_strategy, strategies
from proxyflow.studies.context import StudyContext
from proxyflow.studies.plan import StudySpec, check_epochs, example_counts, unsupported_reason
from proxyflow.studies.support import Unsupported, check_strategy, check_support, only_supported, unsupported
from proxyflow.subsets import choose_subset
from proxyflow.trainers import ImageTrainer
from proxyflow.trainers.images.grids import demo_grid

EXAMPLE = {"F": "0.3", "N": "1", "K": "2", "LIST": "0+1", "a-b": "0.2-0.9"}
TINY = [
    parse_strategy(syntax_of(cls).partition("[")[0].replace(f":{symbol}", f":{EXAMPLE[symbol]}") if symbol else name)
    for name, cls in strategies.items()
    for symbol in [syntax_of(cls).partition(":")[2].partition("[")[0].partition(",")[0]]
]


def dataset_of(*sizes: int) -> Dataset:
    labels = np.repeat(np.arange(len(sizes)), sizes).tolist()
    return noise_dataset(train=labels, valid=list(range(len(sizes))), n_classes=len(sizes))


SUPPLY = {"two": dataset_of(30, 30), "three": dataset_of(20, 20, 20), "few": dataset_of(2, 1)}


def lab_of(supply: dict[str, Dataset], said: list[str]) -> StudyContext:
    return cast(StudyContext, SimpleNamespace(dataset=supply.__getitem__, say=said.append))


def study_of(spelled: str, *datasets: str) -> StudySpec:
    chosen: Any = parse_proxies(spelled)
    return StudySpec(datasets, chosen, demo_grid(), ImageTrainer(), 4, (0,))


def test_every_strategy_is_tried() -> None:
    assert {type(strategy) for strategy in TINY} == set(strategies.values())


@pytest.mark.parametrize("sizes", [(30, 30), (2, 1), (2, 2, 1), (9, 1)])
def test_what_is_supported_can_be_chosen_and_trained_on(sizes: tuple[int, ...]) -> None:
    dataset = dataset_of(*sizes)
    scores = random_scores(dataset.train)
    supported = [strategy for strategy in TINY if not unsupported_reason(dataset, strategy)]
    assert any(isinstance(strategy, Full) for strategy in supported)
    trained = set()
    for strategy in supported:
        if strategy.synthetic:  # its images are made by a method, which has rules of its own
            continue
        subset = choose_subset(dataset, strategy, 0, scores)
        counts = (len(subset.train), len(subset.valid), len(subset.classes))
        if "confusion" not in strategy.needs:
            assert example_counts(dataset, strategy) == counts
        if counts not in trained:  # one of each shape is enough
            trained.add(counts)
            assert len(train(subset, spec_of(1, batch_size=8)).result.records) == 1


def test_all_that_cannot_work_is_named_at_once_with_data_set_strategy_and_reason() -> None:
    spec = study_of("full random:0.3 half-classes:0.5 easiest-classes:3 classes:1+2 distilled:5", "three", "two")
    with pytest.raises(Unsupported) as caught:
        check_support(lab_of(SUPPLY, []), spec)
    found = {(each.dataset, each.strategy.canonical) for each in caught.value.found}
    assert found == {("two", "half-classes:0.5"), ("two", "easiest-classes:3"), ("two", "classes:1+2")}
    assert caught.value.exit_status == 2
    for each in caught.value.found:
        for told in (each.dataset, each.strategy.canonical, each.reason):
            assert told
            assert told in str(caught.value)


@pytest.mark.parametrize(
    ("spelled", "data"),
    [
        ("half-classes:0.5", "two"),
        ("other-half-classes:1", "three"),
        ("classes:0+3", "three"),
        ("easiest-classes:4", "three"),
        ("confusable-classes:3", "two"),
        ("random:0.01", "two"),
        ("easiest:0.3,balance=class", "few"),
        ("k-center:0.1", "few"),
        ("hardest:0.31,drop=0.3", "two"),
        ("classes:0+1,fraction=0.1", "few"),
        ("easiest:0.9,by=heldout_loss", "few"),
    ],
)
def test_too_few_classes_or_examples_are_refused(spelled: str, data: str) -> None:
    context = lab_of(SUPPLY, [])
    with pytest.raises(Unsupported):
        check_strategy(context, data, parse_proxy(spelled), "latest", ImageTrainer())
    assert [each.dataset for each in unsupported(context, study_of(f"full {spelled}", data))] == [data]


def test_what_is_not_supported_is_left_out_and_named() -> None:
    said: list[str] = []
    kept = only_supported(lab_of(SUPPLY, said), study_of("full random:0.3 half-classes:0.5 classes:0+9", "two"))
    assert [strategy.canonical for strategy in kept.strategies] == ["full", "random:0.3"]
    assert len(said) == 2
    for line, name in zip(said, ("half-classes:0.5", "classes:0+9"), strict=True):
        assert name in line
        assert "two" in line


def test_a_study_that_its_data_support_is_kept_as_it_is() -> None:
    said: list[str] = []
    spec = study_of("full random:0.3 half-classes:0.5 epochs:1", "three")
    assert only_supported(lab_of(SUPPLY, said), spec) == spec
    assert not said


def test_nothing_but_what_cannot_work_is_refused() -> None:
    with pytest.raises(Unsupported):
        only_supported(lab_of(SUPPLY, []), study_of("half-classes:0.5", "two"))


def test_all_that_the_epochs_rule_out_is_named_at_once() -> None:
    chosen = parse_proxies("full epochs:4 epochs:9 epochs:3 easiest:0.1,by=el2n_epoch_7 random:0.1")
    with pytest.raises(InvalidValue) as caught:
        check_epochs(chosen, 5, 4)
    assert caught.value.value == "epochs:4 epochs:9 easiest:0.1,by=el2n_epoch_7"
    check_epochs(parse_proxies("full epochs:3 easiest:0.1,by=el2n_epoch_5"), 5, 4)
