"""What every reduction promises: one spelling, one place in a proxy, and trainings that are no longer than before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import wraps
from itertools import permutations

from proxyflow.core.settings import Choice, settings_of
from proxyflow.proxies import Proxy, Reduction, parse_proxy, reductions
from proxyflow.testing.checks import Check, Contract

contract = Contract[type[Reduction]]()


def reduction_checks(cls: type[Reduction]) -> tuple[Check, ...]:
    """Checks of a registered reduction, each over spellings with the options that it declares."""
    return contract.checks(cls)


def examples_of(cls: type[Reduction]) -> list[Reduction]:
    """A reduction with the example of its argument, and with every choice of every option."""
    argument, *options = settings_of(cls)
    rule = argument.metadata["rule"]
    value = next(iter(rule.values)) if isinstance(rule, Choice) else rule.example
    spellings = [f"{cls.name}:{value}"]
    for option in options:
        rule = option.metadata["rule"]
        values = rule.values if isinstance(rule, Choice) else (rule.example,)
        spellings += [f"{cls.name}:{value},{option.name}={each}" for each in values if each != option.default]
    return [parse_proxy(spelling).reductions[0] for spelling in spellings]


def of_each(function: Callable[[Reduction], None]) -> Callable[[type[Reduction]], None]:
    """Makes a check of a reduction one of all examples of a class."""

    @wraps(function)
    def of_class(cls: type[Reduction]) -> None:
        for reduction in examples_of(cls):
            function(reduction)

    return of_class


@contract.promise
def it_says_what_it_is(cls: type[Reduction]) -> None:
    for name in ("summary", "helps", "family", "source"):
        text = getattr(cls, name, None)
        assert isinstance(text, str), f"{cls.__name__} has no {name}"
        assert text.strip(), f"{cls.__name__} has no {name}"
    assert reductions[cls.name] is cls, f"the reduction {cls.name} is another class than {cls}"
    argument, *options = settings_of(cls)
    assert argument.default is dataclasses.MISSING, f"the argument {argument.name} has a default"
    required = [option.name for option in options if option.default is dataclasses.MISSING]
    assert not required, f"the options {required} have no default"


@contract.promise
@of_each
def its_spelling_is_read_back(reduction: Reduction) -> None:
    again = parse_proxy(reduction.canonical)
    assert again.reductions == (reduction,), f"{reduction.canonical} parses to {again}"
    assert again.canonical == reduction.canonical, f"{reduction.canonical} becomes {again.canonical}"
    assert hash(again.reductions[0]) == hash(reduction), f"{reduction.canonical}: equal reductions differ in their hash"


@contract.promise
@of_each
def the_order_of_parts_is_irrelevant(reduction: Reduction) -> None:
    others = [name for name in ("epochs:2", "size:16", "width:0.5") if not name.startswith(f"{reduction.name}:")]
    parts = ["random:0.1", reduction.canonical, *others[:2]]
    found = {parse_proxy("+".join(order)) for order in permutations(parts)}
    assert len(found) == 1, f"{'+'.join(parts)} is {len(found)} proxies, by the order of its parts"
    assert next(iter(found)).canonical.startswith("random:0.1+"), "the examples come first in a spelling"


@contract.promise
@of_each
def it_trains_no_longer_than_the_target(reduction: Reduction) -> None:
    full = 1000
    assert 1 <= reduction.epochs(full) <= full, f"{reduction.canonical} trains too long"
    assert not reduction.too_long(full), f"{reduction.canonical} is refused for {full} epochs"


@contract.promise
@of_each
def it_leaves_the_data_to_the_strategy(reduction: Reduction) -> None:
    proxy = Proxy(reductions=(reduction,))
    assert not proxy.is_target, f"{reduction.canonical} is the target"
    assert proxy.reduces == {reduction.name}, f"{reduction.canonical} reduces {sorted(proxy.reduces)}"
    assert proxy.family == reduction.family, f"{reduction.canonical} is of the family {proxy.family}"
