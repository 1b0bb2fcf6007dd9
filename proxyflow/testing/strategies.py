"""What every strategy promises: a choice that depends on contents and seed alone, of a size that is known before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import wraps
from itertools import product

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.settings import Choice, settings_of
from proxyflow.core.spelling import syntax_of
from proxyflow.scores import known_scores
from proxyflow.strategies import EpochPlan, ExamplePool, Strategy, parse_strategy, strategies
from proxyflow.testing.checks import Check, Contract, assert_same

# Arguments by their symbol; others are tried with the example of their rule.
ARGUMENTS = {
    "F": ("0.01", "0.1", "0.25", "0.333", "0.5", "0.9", "1.0"),
    "N": ("1", "2", "5"),
    "K": ("2", "3", "4"),
    "LIST": ("0+1", "1+3", "0+2+3"),
    "a-b": ("0.05-0.96", "0.2-0.9", "0.333-0.8", "0.0-0.1", "0.9-1.0"),
}
# Options are tried with the middle of these.
MIDDLE = {"F": "0.5", "N": "2", "K": "3", "LIST": "0+2+3", "a-b": "0.2-0.9"}
CLASS_SIZES = (40, 25, 61, 10, 33, 18)
# From no class at all, over classes without an example, to more than any strategy asks for.
POOLS = [(), (1,), (7,), (1, 1), (2, 1), (1, 1, 1), (3, 2, 4), (0, 5, 5), (5, 0, 0), (1, 60, 1), CLASS_SIZES, (1,) * 12]

contract = Contract[type[Strategy]]()


def strategy_checks(cls: type[Strategy]) -> tuple[Check, ...]:
    """Checks of a registered strategy, each over spellings with all arguments and options that it declares."""
    return contract.checks(cls)


def examples_of(cls: type[Strategy]) -> list[Strategy]:
    """A strategy with a few arguments, and with every choice of every option."""
    fields = settings_of(cls)
    if not fields:
        return [parse_strategy(cls.name)]
    options, symbol, rule = fields[1:], fields[0].metadata["symbol"], fields[0].metadata["rule"]
    fallback = str(next(iter(rule.values)) if isinstance(rule, Choice) else getattr(rule, "example", ""))
    middle = f"{cls.name}:{MIDDLE.get(symbol, fallback)}"
    found = [f"{cls.name}:{argument}" for argument in ARGUMENTS.get(symbol, (fallback,))]
    for option in options:
        rule = option.metadata["rule"]
        values = rule.values if isinstance(rule, Choice) else (rule.example,)
        found += [f"{middle},{option.name}={value}" for value in values if value != option.default]
    choices = [option for option in options if isinstance(option.metadata["rule"], Choice)]
    last = [f"{option.name}={[*option.metadata['rule'].values][-1]}" for option in choices]
    spellings = [*found, ",".join([middle, *last])] if last else found
    # A spelling may be a simpler strategy (random:1.0 is full), which has checks of its own.
    parsed = {strategy.canonical: strategy for strategy in filter(None, map(_allowed, spellings))}
    return [strategy for strategy in parsed.values() if type(strategy) is cls]


def _allowed(spelling: str) -> Strategy | None:
    """The strategy, None where a rule about two settings together forbids it."""
    try:
        return parse_strategy(spelling)
    except InvalidValue:
        return None


def make_pool(sizes: tuple[int, ...] = CLASS_SIZES, seed: int = 0, tied: bool = False) -> ExamplePool:
    """Distinct examples of classes of the given sizes, in no order, with ids that are not their positions.

    Args:
        tied: all examples have the same scores and embeddings.
    """
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    scores = {name: np.zeros(n) if tied else rng.normal(size=n) for name in known_scores}
    hashes = np.array([f"{value:016x}" for value in rng.permutation(n)])
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    embeddings = (np.zeros((n, 3)) if tied else rng.normal(size=(n, 3))).astype(np.float32)
    confusion = rng.random((len(sizes), len(sizes)))
    return ExamplePool(1000 + rng.permutation(n), labels, hashes, scores, None, embeddings, confusion)


def chosen(strategy: Strategy, pool: ExamplePool, seed: int = 0) -> NDArray[np.int64]:
    """Positions in `pool` of what the strategy selects."""
    return np.flatnonzero(np.isin(pool.ids, strategy.select(pool, seed)))


def eligible(strategy: Strategy, pool: ExamplePool) -> NDArray[np.int64]:
    """Positions of the examples of the classes that the strategy trains on."""
    return np.flatnonzero(np.isin(pool.labels, strategy.classes(pool)))


def without_scores(pool: ExamplePool) -> ExamplePool:
    """The pool before any model was trained."""
    return dataclasses.replace(pool, scores={}, embeddings=None, confusion=None)


def proportions(strategy: Strategy, tolerance: float = 2) -> None:
    """Checks that a balanced strategy has every class in proportion, within so many examples of each class."""
    for sizes, seed in product((CLASS_SIZES, (500, 300, 200, 100), (64,) * 10), (0, 1)):
        pool = make_pool(sizes, seed)
        among, selected = eligible(strategy, pool), chosen(strategy, pool, seed)
        of = np.bincount(pool.labels[among], minlength=len(sizes))
        got = np.bincount(pool.labels[selected], minlength=len(sizes))
        quota = len(selected) * of / len(among)
        lifted = (got == 1) & (quota < 1)
        if not lifted.any():
            told = f"{strategy.canonical} has {got.tolist()} of classes that have {of.tolist()}, and is balanced"
            assert (np.abs(got - quota) < tolerance).all(), told


def of_each(function: Callable[[Strategy], None]) -> Callable[[type[Strategy]], None]:
    """Makes a check of a strategy one of all examples of a class."""

    @wraps(function)
    def check(cls: type[Strategy]) -> None:
        for strategy in examples_of(cls):
            function(strategy)

    return check


@contract.promise
def it_is_registered_and_says_what_it_is(cls: type[Strategy]) -> None:
    assert strategies[cls.name] is cls, f"the strategy {cls.name} is another class than {cls}"
    for name, text in (("docstring", cls.__doc__), ("summary", cls.summary), ("family", cls.family)):
        assert (text or "").strip(), f"{cls.__name__} has no {name}"
    # A dataclass without a docstring is given its signature as one.
    assert not str(cls.__doc__).startswith(f"{cls.__name__}("), f"{cls.__name__} has no docstring"
    assert any(map(str.isdigit, cls.source)), f"the source {cls.source!r} names no year, section or table"


@contract.promise
def its_settings_have_meanings_and_its_spelling_shows_them(cls: type[Strategy]) -> None:
    fields = settings_of(cls)
    others = {field.name for field in dataclasses.fields(cls)} - {field.name for field in fields}
    assert not others, f"{sorted(others)} are not declared with proxyflow.core.settings.setting"
    assert all(field.metadata["help"] for field in fields), "a setting has no help"
    assert not fields or "symbol" in fields[0].metadata, f"the argument {fields[0].name} has no symbol"
    # Or no spelling could leave an option out.
    required = [field.name for field in fields[1:] if field.default is dataclasses.MISSING]
    assert not required, f"the options {required} have no default"
    assert not fields or fields[0].default is dataclasses.MISSING, f"the argument {fields[0].name} has a default"
    assert all(option.name in syntax_of(cls) for option in fields[1:]), syntax_of(cls)


@contract.promise
def it_has_an_example_of_its_own(cls: type[Strategy]) -> None:
    assert examples_of(cls), f"every tried spelling of {syntax_of(cls)} is simplified to another strategy"


@contract.promise
@of_each
def its_canonical_spelling_parses_back_to_an_equal_strategy(strategy: Strategy) -> None:
    again = parse_strategy(strategy.canonical)
    assert again == strategy, f"{strategy.canonical} parses to {again}, and not to {strategy}"
    assert again.canonical == strategy.canonical, f"{strategy.canonical} becomes {again.canonical}"
    assert hash(again) == hash(strategy), f"{strategy.canonical}: equal strategies have different hashes"


@contract.promise
@of_each
def it_chooses_existing_examples_each_once_and_sorted(strategy: Strategy) -> None:
    pool = make_pool()
    ids = strategy.select(pool, 0)
    assert ids.dtype == np.int64, f"{strategy.canonical} chooses ids of type {ids.dtype}"
    assert_same(ids, np.unique(ids), f"{strategy.canonical}: ids are sorted and each occurs once")
    assert set(ids) <= set(pool.ids), f"{strategy.canonical} chooses ids that are not in the pool"


@contract.promise
@of_each
def it_chooses_nothing_of_classes_that_are_not_validated_on(strategy: Strategy) -> None:
    pool = make_pool()
    others = set(chosen(strategy, pool)) - set(eligible(strategy, pool))
    assert not others, f"{strategy.canonical} chooses {len(others)} examples of classes that `classes` leaves out"


@contract.promise
@of_each
def the_same_seed_gives_the_same_choice(strategy: Strategy) -> None:
    again = parse_strategy(strategy.canonical)
    assert_same(again.select(make_pool(), 3), strategy.select(make_pool(), 3), strategy.canonical)


@contract.promise
@of_each
def the_order_of_the_pool_has_no_influence(strategy: Strategy) -> None:
    for tied in (False, True):
        pool = make_pool(tied=tied)
        by_label = np.argsort(pool.labels, kind="stable")
        for order in (np.random.default_rng(1).permutation(len(pool)), by_label, by_label[::-1]):
            told = f"{strategy.canonical}: the same examples in another order, scores {'equal' if tied else 'distinct'}"
            assert_same(strategy.select(pool.take(order), 0), strategy.select(pool, 0), told)


@contract.promise
@of_each
def other_ids_give_the_same_contents(strategy: Strategy) -> None:
    for tied in (False, True):
        pool = make_pool(tied=tied)
        renamed = dataclasses.replace(pool, ids=pool.ids[::-1].copy())
        assert_same(chosen(strategy, renamed), chosen(strategy, pool), f"{strategy.canonical}: ids decide the choice")


@contract.promise
@of_each
def another_seed_changes_the_choice_exactly_where_it_says_so(strategy: Strategy) -> None:
    # With equal scores chance alone decides, also for strategies that rank.
    pools = [(make_pool(tied=True), seed) for seed in range(5)]
    choices = {(tuple(strategy.select(*each)), _ranking(strategy, *each)) for each in pools}
    told = f"{strategy.canonical} makes {len(choices)} choices with 5 seeds, and depends_on_seed is"
    assert (len(choices) > 1) == strategy.depends_on_seed, f"{told} {strategy.depends_on_seed}"


def _ranking(strategy: Strategy, pool: ExamplePool, seed: int) -> tuple[int, ...] | None:
    found = strategy.ranking(pool, seed)
    return None if found is None else tuple(found.tolist())


@contract.promise
@of_each
def a_ranking_has_all_that_it_chooses_and_depends_on_content_alone(strategy: Strategy) -> None:
    pool = make_pool()
    ranked = strategy.ranking(pool, 0)
    if ranked is None:
        return
    assert_same(np.sort(ranked), strategy.select(pool, 0), f"{strategy.canonical} ranks what it chooses")
    again = strategy.ranking(pool.take(np.random.default_rng(1).permutation(len(pool))), 0)
    assert again is not None, f"{strategy.canonical} ranks a pool in one order alone"
    assert_same(again, ranked, f"{strategy.canonical} ranks another order of the pool alike")
    assert 1 <= strategy.presented(len(ranked)) <= len(ranked), f"{strategy.canonical} presents more than it chooses"


@contract.promise
@of_each
def it_asks_for_scores_exactly_where_it_needs_them(strategy: Strategy) -> None:
    without = without_scores(make_pool())
    if not strategy.needs_scores:
        told = f"{strategy.canonical} needs no scores, and chooses otherwise without them"
        assert_same(strategy.select(without, 0), strategy.select(make_pool(), 0), told)
        return
    _refuses(lambda: strategy.select(without, 0), f"{strategy.canonical} needs scores, and chooses without them")


@contract.promise
@of_each
def it_refuses_an_empty_pool(strategy: Strategy) -> None:
    nothing = make_pool().take(np.array([], dtype=np.int64))
    _refuses(lambda: strategy.select(nothing, 0), f"{strategy.canonical} chooses from an empty pool")


@contract.promise
@of_each
def it_leaves_the_pool_as_it_was(strategy: Strategy) -> None:
    pool, untouched = make_pool(), make_pool()
    strategy.select(pool, 0)
    assert_same(pool.ids, untouched.ids, f"{strategy.canonical} changes the pool's ids")
    assert_same(pool.labels, untouched.labels, f"{strategy.canonical} changes the pool's labels")
    for name, values in pool.scores.items():
        assert_same(values, untouched.scores[name], f"{strategy.canonical} changes the pool's {name}")


@contract.promise
@of_each
def it_trains_on_some_classes_of_the_target(strategy: Strategy) -> None:
    classes = strategy.classes(make_pool((2,) * 10))
    assert len(classes) >= 2, f"{strategy.canonical} trains on {len(classes)} classes"
    assert_same(classes, np.unique(classes), f"{strategy.canonical}: classes are sorted and each occurs once")
    assert set(classes) <= set(range(10)), f"{strategy.canonical} trains on classes that do not exist: {classes}"


@contract.promise
@of_each
def it_shows_examples_once_an_epoch_unless_they_are_synthetic(strategy: Strategy) -> None:
    epoch_plan = strategy.epoch_plan(100, 1000, 10)
    assert epoch_plan.passes >= 1, f"{strategy.canonical} shows its examples {epoch_plan.passes} times"
    assert epoch_plan.batch_size <= 10, f"{strategy.canonical} has batches of {epoch_plan.batch_size} instead of 10"
    assert strategy.synthetic or epoch_plan == EpochPlan(1, 10), (
        f"{strategy.canonical} shows real examples as {epoch_plan}"
    )


@contract.promise
@of_each
def the_strategy_whose_data_it_shares_chooses_the_same(strategy: Strategy) -> None:
    pool, other = make_pool(), strategy.subset_strategy
    told = f"{strategy.canonical} and its subset_strategy {other.canonical}"
    assert_same(other.select(pool, 0), strategy.select(pool, 0), told)
    assert_same(other.classes(pool), strategy.classes(pool), told)


@contract.promise
def a_larger_fraction_selects_a_superset_where_it_is_nested(cls: type[Strategy]) -> None:
    if not cls.nested:
        return
    for strategy, sizes, tied in product(examples_of(cls), (CLASS_SIZES, (3, 97, 1, 1, 12)), (False, True)):
        pool, before = make_pool(sizes, tied=tied), np.empty(0, dtype=np.int64)
        fractions = [float(fraction) for fraction in ARGUMENTS["F"]]
        for each in filter(None, (_with_fraction(strategy, fraction) for fraction in sorted(fractions))):
            if each.lacking(pool):
                continue
            now = each.select(pool, 0)
            lost = np.setdiff1d(before, now)
            assert not len(lost), f"{each.canonical} leaves out {len(lost)} examples that a smaller fraction selects"
            before = now


def _with_fraction(strategy: Strategy, fraction: float) -> Strategy | None:
    """The same strategy with another `fraction`, None where its other settings forbid it."""
    try:
        return dataclasses.replace(strategy, fraction=fraction)  # type: ignore[call-arg]
    except InvalidValue:
        return None


@contract.promise
@of_each
def a_balanced_choice_has_every_class_in_proportion(strategy: Strategy) -> None:
    if not strategy.balanced:
        return
    proportions(strategy)
    pool = make_pool((3, 397, 1, 2))
    selected, wanted = chosen(strategy, pool), set(strategy.classes(pool))
    missing = wanted - set(pool.labels[selected])
    assert not missing or len(selected) < len(wanted), f"{strategy.canonical} has nothing of the classes {missing}"


@contract.promise
@of_each
def a_balanced_choice_refuses_a_class_without_an_example(strategy: Strategy) -> None:
    if not strategy.balanced:
        return
    pool = make_pool()
    missing = int(strategy.classes(pool)[0])
    there = pool.take(np.flatnonzero(pool.labels != missing))
    without = dataclasses.replace(there, classes=np.arange(len(CLASS_SIZES)))
    _refuses(lambda: strategy.select(without, 0), f"{strategy.canonical} is balanced, and class {missing} is empty")


@contract.promise
@of_each
def what_cannot_work_is_known_before_a_model_is_trained(strategy: Strategy) -> None:
    for sizes in POOLS:
        pool = dataclasses.replace(make_pool(sizes), classes=np.arange(len(sizes)))
        reason = strategy.untrainable(without_scores(pool))
        try:
            works = strategy.presented(len(strategy.select(pool, 0))) >= 2
        except UserError:
            works = False
        told = f"{strategy.canonical} of classes with {sizes} examples {'works' if works else 'does not work'}"
        assert works or reason, f"{told}, and `untrainable` gives no reason"
        # Where the confusion decides, how many there will be is not known, and what may be too few is refused.
        assert not (works and reason) or "confusion" in strategy.needs, f"{told}, and `untrainable` says: {reason}"


@contract.promise
@of_each
def its_size_is_known_without_scores(strategy: Strategy) -> None:
    for sizes in (CLASS_SIZES, (50,) * 4, (7, 11, 13, 17), (3, 97, 1, 1), (2, 1, 3), (9,) * 4, (1, 1, 1, 1)):
        pool = make_pool(sizes)
        if strategy.untrainable(without_scores(pool)):
            continue
        known, now = strategy.size(without_scores(pool)), len(strategy.select(pool, 0))
        told = f"{strategy.canonical} chooses {now} of classes with {sizes} examples"
        assert strategy.size(pool) == now, f"{told}, and its size is {strategy.size(pool)}"
        assert known == now or (known < now and "confusion" in strategy.needs), f"{told}, and {known} without scores"


def _refuses(choose: Callable[[], object], told: str) -> None:
    try:
        choose()
    except UserError:
        return
    raise AssertionError(f"{told}; it must raise a UserError")
