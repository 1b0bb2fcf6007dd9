"""What every sampler promises: configurations of the space, the same ones again for the same arguments."""

from __future__ import annotations

from itertools import islice

from proxyflow.searching.samplers import Sampler, Told
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.space import Space
from proxyflow.testing.checks import Check, Contract

MOST = 12
SPACES = {
    "numbers": {"rate": {"low": 1e-4, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}},
    "steps": {"width": {"low": 16, "high": 128, "step": 16}, "layers": {"low": 1, "high": 9}, "fixed": 3},
    "choices": {
        "optimizer": ["adam", "sgd"],
        "nesterov": [True, False],
        "size": [16, 32, 64],
        "on": {"low": 0, "high": 1},
    },
    "conditions": {
        "optimizer": ["adam", "sgd"],
        "momentum": {"low": 0.8, "high": 0.99, "when": {"optimizer": ["sgd"]}},
        "rate": {"low": 0.001, "high": 1.0, "log": True},
    },
}
contract = Contract[Sampler]()


def sampler_checks(sampler: Sampler) -> tuple[Check, ...]:
    """Checks of a sampler, over spaces with all kinds of hyperparameters."""
    return contract.checks(sampler)


def _space(name: str) -> Space:
    return Space.of(SPACES[name], name)


def _told(space: Space, n: int) -> list[Told]:
    """Trained configurations, of which later ones are better."""
    return [Told(each, number / 10) for number, each in enumerate(space.sample(n, 0) if n else ())]


def _proposed(sampler: Sampler, space: Space, told: list[Told], seed: int) -> list[Configuration]:
    return list(islice(sampler.propose(space, told, seed), MOST))


@contract.promise
def it_says_what_it_is(sampler: Sampler) -> None:
    assert sampler.description.strip(), "it has no description"


@contract.promise
def it_proposes_configurations_of_the_space(sampler: Sampler) -> None:
    for name in SPACES:
        space = _space(name)
        found = _proposed(sampler, space, _told(space, 8), 0)
        assert found, f"it proposes nothing for the space of {name}"
        for each in found:
            assert space.configuration(dict(each)) == each, f"{each} is not of the space of {name}"


@contract.promise
def it_proposes_something_else_than_one_configuration(sampler: Sampler) -> None:
    space = _space("numbers")
    assert len(set(_proposed(sampler, space, _told(space, 8), 0))) > 1, "all proposals are the same"


@contract.promise
def it_proposes_the_same_again(sampler: Sampler) -> None:
    space = _space("conditions")
    first, again = (_proposed(sampler, space, _told(space, 8), 1) for _ in range(2))
    assert first == again, "the same arguments give other proposals"


@contract.promise
def other_seeds_give_other_proposals(sampler: Sampler) -> None:
    space = _space("numbers")
    first, other = (_proposed(sampler, space, _told(space, 8), seed) for seed in (1, 2))
    assert first != other, "seeds have no effect"


@contract.promise
def it_bears_a_search_that_knows_nothing(sampler: Sampler) -> None:
    space = _space("numbers")
    for each in _proposed(sampler, space, [], 0):
        assert space.configuration(dict(each)) == each
