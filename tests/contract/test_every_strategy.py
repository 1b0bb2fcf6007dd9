"""What holds for every strategy, so that a new one is tested by being registered and a broken one cannot ship."""

from __future__ import annotations

import dataclasses
from decimal import ROUND_HALF_UP, Decimal
from itertools import product

import numpy as np
import pytest

from proxyflow.errors import UserError
from proxyflow.scoring.measures import measures
from proxyflow.settings import Choice, settings_of
from proxyflow.strategies import (
    Distilled,
    KMeansCoreset,
    Mix,
    Pool,
    Random,
    Showing,
    Slice,
    Strategy,
    parse_strategy,
    spelling,
    strategies,
)
from proxyflow.strategies.class_subsets import ClassSubset

ARGUMENTS = {
    "F": ("0.01", "0.1", "0.25", "0.333", "0.5", "0.9", "1.0"),
    "N": ("1", "2", "5"),
    "K": ("2", "3", "4"),
    "LIST": ("0+1", "1+3", "0+2+3"),
    "a-b": ("0.05-0.96", "0.2-0.9", "0.333-0.8", "0.0-0.1", "0.9-1.0"),
}
# Options are tried with the middle of these, where no rule about two settings together forbids a value.
MIDDLE = {"F": "0.5", "N": "2", "K": "3", "LIST": "0+2+3", "a-b": "0.2-0.9"}
CLASS_SIZES = (40, 25, 61, 10, 33, 18)


def examples_of(cls: type[Strategy]) -> list[str]:
    """Spellings of a strategy by its declared settings: a few arguments, and every choice of every option."""
    first, *options = [*settings_of(cls), None][:1] + settings_of(cls)[1:]
    if first is None:
        return [cls.name]
    symbol = first.metadata["symbol"]
    found = [f"{cls.name}:{argument}" for argument in ARGUMENTS[symbol]]
    for option in options:
        rule = option.metadata["rule"]
        values = rule.values if isinstance(rule, Choice) else (rule.example,)
        found += [f"{cls.name}:{MIDDLE[symbol]},{option.name}={value}" for value in values if value != option.default]
    choices = [option for option in options if isinstance(option.metadata["rule"], Choice)]
    last = [f"{option.name}={option.metadata['rule'].values[-1]}" for option in choices]
    return [*found, ",".join([f"{cls.name}:{MIDDLE[symbol]}", *last])] if last else found


# A spelling may be a simpler strategy (random:1.0 is full); each strategy is then tried once.
EXAMPLES = list(
    {
        strategy.canonical: strategy
        for cls in strategies.values()
        for strategy in map(parse_strategy, examples_of(cls))
    }.values()
)
STRATIFIED = [strategy for strategy in EXAMPLES if strategy.balanced]
every_class = pytest.mark.parametrize("cls", strategies.values(), ids=list(strategies))
every_strategy = pytest.mark.parametrize("strategy", EXAMPLES, ids=lambda strategy: strategy.canonical)
every_stratified = pytest.mark.parametrize("strategy", STRATIFIED, ids=lambda strategy: strategy.canonical)


def make_pool(sizes: tuple[int, ...] = CLASS_SIZES, seed: int = 0, tied: bool = False) -> Pool:
    """Distinct examples of classes of the given sizes, in no order, with ids that are not their positions."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    scores = {name: np.zeros(n) if tied else rng.normal(size=n) for name in measures}
    hashes = np.array([f"{value:016x}" for value in rng.permutation(n)])
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    embeddings = (np.zeros((n, 3)) if tied else rng.normal(size=(n, 3))).astype(np.float32)
    confusion = rng.random((len(sizes), len(sizes)))
    return Pool(1000 + rng.permutation(n), labels, hashes, scores, None, embeddings, confusion)


def reordered(pool: Pool, order: np.ndarray) -> Pool:
    return pool.take(order)


def chosen(strategy: Strategy, pool: Pool, seed: int = 0) -> np.ndarray:
    """Positions in `pool` of what the strategy selects."""
    return np.flatnonzero(np.isin(pool.example_ids, strategy.select(pool, seed)))


def rounded(fraction: object, n: int) -> int:
    """Half up, on the decimal number as it is written."""
    return int((Decimal(str(fraction)) * n).quantize(Decimal(1), ROUND_HALF_UP))


def eligible(strategy: Strategy, pool: Pool) -> np.ndarray:
    """Positions of the examples of the classes that the strategy trains on."""
    return np.flatnonzero(np.isin(pool.labels, strategy.classes(pool)))


def expected_size(strategy: Strategy, pool: Pool) -> int:
    n = len(eligible(strategy, pool))
    if isinstance(strategy, Distilled):
        return sum(min(strategy.count, int((pool.labels == label).sum())) for label in set(pool.labels))
    fields = settings_of(strategy)
    if isinstance(strategy, ClassSubset):
        return max(1, rounded(strategy.fraction, n))
    if isinstance(strategy, Slice):
        return max(1, rounded(strategy.bounds[1], n) - rounded(strategy.bounds[0], n))
    if not fields or fields[0].metadata["symbol"] != "F":
        return n
    return max(1, rounded(getattr(strategy, fields[0].name), n) - rounded(getattr(strategy, "drop", 0), n))


@every_class
def test_a_strategy_says_what_it_is_and_where_it_comes_from(cls: type[Strategy]) -> None:
    assert strategies[cls.name] is cls
    for text in (cls.__doc__, cls.summary, cls.family, cls.source):
        assert text
        assert text.strip()
    # A dataclass without a docstring is given its signature as one.
    assert not str(cls.__doc__).startswith(f"{cls.__name__}(")
    assert any(character.isdigit() for character in cls.source), "the source names a year, section or table"


@every_class
def test_a_strategys_settings_have_meanings_and_its_spelling_shows_them(cls: type[Strategy]) -> None:
    fields = settings_of(cls)
    assert len(fields) == len(dataclasses.fields(cls))
    assert all(field.metadata["help"] for field in fields)
    # The argument has no default, and every option has one, or no spelling could leave it out.
    assert [field.default is dataclasses.MISSING for field in fields] == [True, *[False] * (len(fields) - 1)][
        : len(fields)
    ]
    assert spelling(cls).startswith(cls.name)
    assert all(option.name in spelling(cls) for option in fields[1:])


@every_class
def test_a_strategy_has_an_example_of_its_own(cls: type[Strategy]) -> None:
    assert any(type(strategy) is cls for strategy in EXAMPLES)


@every_strategy
def test_the_canonical_spelling_parses_back_to_an_equal_strategy(strategy: Strategy) -> None:
    again = parse_strategy(strategy.canonical)
    assert again == strategy
    assert again.canonical == strategy.canonical
    assert hash(again) == hash(strategy)


@every_strategy
def test_the_size_is_exact(strategy: Strategy) -> None:
    for sizes in (CLASS_SIZES, (50,) * 4, (7, 11, 13, 17), (3, 97, 1, 1)):
        pool = make_pool(sizes)
        assert len(strategy.select(pool, 0)) == strategy.size(pool) == expected_size(strategy, pool)


@every_strategy
def test_the_choice_is_of_existing_examples_each_once_and_sorted(strategy: Strategy) -> None:
    pool = make_pool()
    ids = strategy.select(pool, 0)
    assert ids.dtype == np.int64
    assert np.array_equal(ids, np.unique(ids))
    assert set(ids) <= set(pool.example_ids)


@every_strategy
def test_nothing_is_chosen_of_classes_that_are_not_validated_on(strategy: Strategy) -> None:
    pool = make_pool()
    assert set(chosen(strategy, pool)) <= set(eligible(strategy, pool))


@every_strategy
def test_the_same_seed_gives_the_same_choice(strategy: Strategy) -> None:
    assert np.array_equal(strategy.select(make_pool(), 3), parse_strategy(strategy.canonical).select(make_pool(), 3))


@every_strategy
@pytest.mark.parametrize("tied", [False, True], ids=["distinct scores", "equal scores"])
def test_the_order_of_the_pool_has_no_influence(strategy: Strategy, tied: bool) -> None:
    pool = make_pool(tied=tied)
    by_label = np.argsort(pool.labels, kind="stable")
    for order in (np.random.default_rng(1).permutation(len(pool)), by_label, by_label[::-1]):
        assert np.array_equal(strategy.select(reordered(pool, order), 0), strategy.select(pool, 0))


@every_strategy
@pytest.mark.parametrize("tied", [False, True], ids=["distinct scores", "equal scores"])
def test_other_ids_give_the_same_contents(strategy: Strategy, tied: bool) -> None:
    pool = make_pool(tied=tied)
    renamed = dataclasses.replace(pool, example_ids=pool.example_ids[::-1].copy())
    assert np.array_equal(chosen(strategy, renamed), chosen(strategy, pool))


@every_strategy
def test_another_seed_changes_the_choice_exactly_where_the_strategy_says_so(strategy: Strategy) -> None:
    # With equal scores chance alone decides, also for strategies that rank.
    pool = make_pool(tied=True)
    choices = {tuple(strategy.select(pool, seed)) for seed in range(5)}
    assert (len(choices) > 1) == strategy.depends_on_seed


@every_strategy
def test_chance_has_no_say_where_a_strategy_says_so_or_scores_decide(strategy: Strategy) -> None:
    pool = make_pool()
    choices = {tuple(strategy.select(pool, seed)) for seed in range(5)}
    draws = isinstance(strategy, (Random, ClassSubset, Mix, KMeansCoreset))
    assert len(choices) == 1 or (strategy.depends_on_seed and draws)


@every_strategy
def test_scores_are_asked_for_exactly_where_they_are_needed(strategy: Strategy) -> None:
    without = dataclasses.replace(make_pool(), scores={}, embeddings=None, confusion=None)
    if strategy.needs_scores:
        with pytest.raises(UserError, match="score"):
            strategy.select(without, 0)
    else:
        assert np.array_equal(strategy.select(without, 0), strategy.select(make_pool(), 0))


@every_strategy
def test_an_empty_pool_is_refused(strategy: Strategy) -> None:
    nothing = reordered(make_pool(), np.array([], dtype=np.int64))
    with pytest.raises(UserError, match="empty"):
        strategy.select(nothing, 0)


@every_strategy
def test_the_pool_is_left_as_it_was(strategy: Strategy) -> None:
    pool = make_pool()
    strategy.select(pool, 0)
    untouched = make_pool()
    assert np.array_equal(pool.example_ids, untouched.example_ids)
    assert np.array_equal(pool.labels, untouched.labels)
    assert all(np.array_equal(values, untouched.scores[name]) for name, values in pool.scores.items())


@every_strategy
def test_training_takes_as_long_as_the_target_or_less_and_on_some_of_its_classes(strategy: Strategy) -> None:
    assert 1 <= strategy.epochs(20) <= 20
    classes = strategy.classes(make_pool((2,) * 10))
    assert len(classes) >= 2
    assert set(classes) <= set(range(10))
    assert np.array_equal(classes, np.sort(classes))


@every_strategy
def test_examples_are_shown_once_an_epoch_unless_they_are_synthetic(strategy: Strategy) -> None:
    showing = strategy.showing(100, 1000, 10)
    assert showing.passes >= 1
    assert showing.batch_size <= 10
    assert strategy.synthetic == isinstance(strategy, Distilled)
    assert strategy.synthetic or showing == Showing(1, 10)


@every_strategy
def test_the_strategy_whose_data_are_shared_chooses_the_same(strategy: Strategy) -> None:
    pool = make_pool()
    assert np.array_equal(strategy.data_strategy.select(pool, 0), strategy.select(pool, 0))
    assert np.array_equal(strategy.data_strategy.classes(pool), strategy.classes(pool))


@every_stratified
def test_a_stratified_choice_has_every_class_in_proportion(strategy: Strategy) -> None:
    # What is dropped, or taken first, is shared out over the classes too, so two roundings meet there.
    tolerance = 2 if getattr(strategy, "drop", 0) or isinstance(strategy, (Slice, Mix)) else 1
    for sizes, seed in product((CLASS_SIZES, (500, 300, 200, 100), (64,) * 10), (0, 1)):
        pool = make_pool(sizes, seed)
        among, selected = eligible(strategy, pool), chosen(strategy, pool, seed)
        of = np.bincount(pool.labels[among], minlength=len(sizes))
        got = np.bincount(pool.labels[selected], minlength=len(sizes))
        quota = len(selected) * of / len(among)
        lifted = (got == 1) & (quota < 1)
        if not lifted.any():
            assert (np.abs(got - quota) < tolerance).all()


@every_stratified
def test_no_class_goes_empty_where_a_stratified_choice_has_one_for_each(strategy: Strategy) -> None:
    pool = make_pool((3, 397, 1, 2))
    selected = chosen(strategy, pool)
    wanted = strategy.classes(pool)
    if len(selected) >= len(wanted):
        assert set(pool.labels[selected]) == set(wanted)


@pytest.mark.parametrize("drop", ["0.05", "0.1", "0.3"])
def test_dropping_the_hardest_leaves_every_class_something_where_classes_are_balanced(drop: str) -> None:
    pool = make_pool((3, 97, 1, 1))
    selected = chosen(parse_strategy(f"hardest:0.5,drop={drop},balance=class"), pool)
    assert set(pool.labels[selected]) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["easiest", "hardest"])
@pytest.mark.parametrize("by", list(measures))
@pytest.mark.parametrize("fraction", ["0.1", "0.5"])
def test_a_balanced_ranking_takes_the_extreme_of_each_class(name: str, by: str, fraction: str) -> None:
    pool = make_pool()
    selected = chosen(parse_strategy(f"{name}:{fraction},by={by},balance=class"), pool)
    hardness = measures[by].hardness(pool.scores[by])
    if name == "hardest":
        hardness = -hardness
    for label in np.unique(pool.labels):
        members = np.flatnonzero(pool.labels == label)
        taken = np.intersect1d(selected, members)
        rest = np.setdiff1d(members, taken)
        assert len(taken) >= 1
        assert hardness[taken].max() < hardness[rest].min()


@pytest.mark.parametrize("name", ["easiest", "hardest"])
@pytest.mark.parametrize("by", list(measures))
def test_a_ranking_takes_the_extreme_of_all(name: str, by: str) -> None:
    pool = make_pool()
    selected = chosen(parse_strategy(f"{name}:0.2,by={by}"), pool)
    hardness = measures[by].hardness(pool.scores[by])
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


TINY = [f"{cls.name}:1e-06" for cls in strategies.values() if examples_of(cls)[0] == f"{cls.name}:0.01"]
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


@every_strategy
def test_one_example_of_each_class_is_pool_enough(strategy: Strategy) -> None:
    pool = make_pool((1, 1, 1, 1))
    assert len(strategy.select(pool, 0)) == expected_size(strategy, pool)


@every_stratified
def test_a_class_without_an_example_is_refused_where_every_class_is_promised_some(strategy: Strategy) -> None:
    pool = make_pool()
    missing = int(strategy.classes(pool)[0])
    without = dataclasses.replace(
        pool.take(np.flatnonzero(pool.labels != missing)), classes=np.arange(len(CLASS_SIZES))
    )
    with pytest.raises(UserError, match=f"class {missing} has none"):
        strategy.select(without, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes:0+9", "class 9 does not exist; there are 6, numbered 0 to 5"),
        ("easiest-classes:7", "7 classes are wanted, and there are 6"),
        ("confusable-classes:7", "7 classes are wanted, and there are 6"),
    ],
)
def test_more_classes_than_there_are_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_strategy(text).select(make_pool(), 0)
