"""What holds for every strategy, so that a new one is tested by being registered and a broken one cannot ship."""

from __future__ import annotations

import dataclasses
from decimal import ROUND_HALF_UP, Decimal
from itertools import product

import numpy as np
import pytest

from proxyflow.core.errors import UserError
from proxyflow.core.settings import settings_of
from proxyflow.scores import known_scores
from proxyflow.strategies import (
    Coverage,
    Curriculum,
    Distilled,
    ExamplePool,
    KMeansCoreset,
    Mix,
    Prototypes,
    Random,
    Slice,
    Strategy,
    parse_strategy,
    strategies,
)
from proxyflow.strategies.class_subsets import ClassSubset
from proxyflow.testing import Check, strategy_checks
from proxyflow.testing.strategies import CLASS_SIZES, chosen, eligible, examples_of, make_pool, proportions

CHECKS = [(name, check) for name, cls in strategies.items() for check in strategy_checks(cls)]
every_class = pytest.mark.parametrize("cls", strategies.values(), ids=list(strategies))


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=[f"{name}-{check}" for name, check in CHECKS])
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def rounded(fraction: object, n: int) -> int:
    """Half up, on the decimal number as it is written."""
    return int((Decimal(str(fraction)) * n).quantize(Decimal(1), ROUND_HALF_UP))


def expected_size(strategy: Strategy, pool: ExamplePool) -> int:
    n = len(eligible(strategy, pool))
    if isinstance(strategy, Distilled):
        return sum(min(strategy.count, int((pool.labels == label).sum())) for label in set(pool.labels))
    fields = settings_of(strategy)
    if isinstance(strategy, Curriculum):  # it chooses all, and presents some
        return n
    if isinstance(strategy, ClassSubset):
        return max(1, rounded(strategy.fraction, n))
    if isinstance(strategy, Slice):
        return max(1, rounded(strategy.bounds[1], n) - rounded(strategy.bounds[0], n))
    if not fields or fields[0].metadata["symbol"] != "F":
        return n
    # Of `coverage`, F is what is left after dropping.
    dropped = 0 if isinstance(strategy, Coverage) else rounded(getattr(strategy, "drop", 0), n)
    return max(1, rounded(getattr(strategy, fields[0].name), n) - dropped)


@every_class
def test_its_size_is_exact(cls: type[Strategy]) -> None:
    for strategy, sizes in product(
        examples_of(cls), (CLASS_SIZES, (50,) * 4, (7, 11, 13, 17), (3, 97, 1, 1), (1,) * 4)
    ):
        pool = make_pool(sizes)
        assert len(strategy.select(pool, 0)) == strategy.size(pool) == expected_size(strategy, pool), strategy


@every_class
def test_chance_has_no_say_where_it_says_so_or_scores_decide(cls: type[Strategy]) -> None:
    draws = issubclass(cls, (Random, ClassSubset, Mix, Coverage, KMeansCoreset, Prototypes))
    for strategy in examples_of(cls):
        choices = {tuple(strategy.select(make_pool(), seed)) for seed in range(5)}
        assert len(choices) == 1 or (strategy.depends_on_seed and draws), strategy


@every_class
def test_a_balanced_choice_is_exact_where_two_roundings_do_not_meet(cls: type[Strategy]) -> None:
    for strategy in examples_of(cls):
        # What is dropped, or taken first, is shared out over the classes too.
        if strategy.balanced and not (getattr(strategy, "drop", 0) or isinstance(strategy, (Slice, Mix))):
            proportions(strategy, tolerance=1)


def test_only_distilled_images_are_synthetic() -> None:
    assert [cls for cls in strategies.values() if cls.synthetic] == [Distilled]


@pytest.mark.parametrize("drop", ["0.05", "0.1", "0.3"])
def test_dropping_the_hardest_leaves_every_class_something_where_classes_are_balanced(drop: str) -> None:
    pool = make_pool((3, 97, 1, 1))
    selected = chosen(parse_strategy(f"hardest:0.5,drop={drop},balance=class"), pool)
    assert set(pool.labels[selected]) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["easiest", "hardest"])
@pytest.mark.parametrize("by", list(known_scores))
@pytest.mark.parametrize("fraction", ["0.1", "0.5"])
def test_a_balanced_ranking_takes_the_extreme_of_each_class(name: str, by: str, fraction: str) -> None:
    pool = make_pool()
    selected = chosen(parse_strategy(f"{name}:{fraction},by={by},balance=class"), pool)
    hardness = known_scores[by].hardness(pool.scores[by])
    if name == "hardest":
        hardness = -hardness
    for label in np.unique(pool.labels):
        members = np.flatnonzero(pool.labels == label)
        taken = np.intersect1d(selected, members)
        rest = np.setdiff1d(members, taken)
        assert len(taken) >= 1
        assert hardness[taken].max() < hardness[rest].min()


@pytest.mark.parametrize("name", ["easiest", "hardest"])
@pytest.mark.parametrize("by", list(known_scores))
def test_a_ranking_takes_the_extreme_of_all(name: str, by: str) -> None:
    pool = make_pool()
    selected = chosen(parse_strategy(f"{name}:0.2,by={by}"), pool)
    hardness = known_scores[by].hardness(pool.scores[by])
    order = np.argsort(hardness if name == "easiest" else -hardness)
    assert set(selected) == set(order[: len(selected)])


@pytest.mark.parametrize("name", ["easiest", "hardest"])
def test_equal_scores_are_told_apart_by_the_margin(name: str) -> None:
    pool = make_pool()
    equal = dataclasses.replace(pool, scores={**pool.scores, "loss": np.zeros(len(pool))})
    by_margin = parse_strategy(f"{name}:0.2,by=margin")
    assert np.array_equal(parse_strategy(f"{name}:0.2").select(equal, 0), by_margin.select(pool, 0))


@pytest.mark.parametrize("drop", ["0.05", "0.2", "0.333"])
@pytest.mark.parametrize("balance", ["none", "class"])
def test_what_is_dropped_is_the_hardest_and_what_is_kept_comes_next(drop: str, balance: str) -> None:
    pool = make_pool()
    kept = chosen(parse_strategy(f"hardest:0.5,drop={drop},balance={balance}"), pool)
    loss = pool.scores["loss"]
    groups = [np.arange(len(pool))] if balance == "none" else [pool.labels == label for label in np.unique(pool.labels)]
    for group in groups:
        members = np.arange(len(pool))[group]
        ranked = members[np.argsort(-loss[members])]
        places = np.flatnonzero(np.isin(ranked, kept))
        assert np.array_equal(places, np.arange(places[0], places[0] + len(places)))
        assert abs(places[0] - float(drop) * len(members)) < 1


CHOOSING = [name for name, cls in strategies.items() if examples_of(cls)[0].canonical == f"{name}:0.01"]
TINY = [f"{name}:1e-06" for name in CHOOSING if strategies[name] is not Curriculum]  # it chooses all
TINY += [
    f"{spelling},balance=class"
    for spelling in TINY
    if "balance" in {f.name for f in dataclasses.fields(parse_strategy(spelling))}
]


@pytest.mark.parametrize("text", TINY)
@pytest.mark.parametrize("sizes", [CLASS_SIZES, (1, 1, 1, 1), (2, 1, 1, 1)])
def test_the_smallest_fraction_is_still_one_example(text: str, sizes: tuple[int, ...]) -> None:
    assert len(parse_strategy(text).select(make_pool(sizes), 0)) == 1


@pytest.mark.parametrize("balance", ["none", "class"])
@pytest.mark.parametrize(
    ("fraction", "drop"),
    [("1.0", "0.999"), ("1.0", "0.99999"), ("0.001", "0.0005"), ("0.5", "0.499"), ("0.9999", "0.999")],
)
@pytest.mark.parametrize("sizes", [CLASS_SIZES, (1, 1), (60, 20, 20)])
def test_the_thinnest_slice_is_still_one_example(
    fraction: str, drop: str, balance: str, sizes: tuple[int, ...]
) -> None:
    strategy = Slice(f"{drop}-{fraction}", balance=balance)
    pool = make_pool(sizes)
    assert len(strategy.select(pool, 0)) == expected_size(strategy, pool)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes:0+9", "class 9 does not exist; there are 6, numbered 0 to 5"),
        ("easiest-classes:7", "7 classes are requested, and there are 6"),
        ("confusable-classes:7", "7 classes are requested, and there are 6"),
    ],
)
def test_more_classes_than_there_are_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_strategy(text).select(make_pool(), 0)
