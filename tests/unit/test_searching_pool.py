"""A search's candidates grow with what it has seen, towards the best, and are the same again when it resumes."""

from __future__ import annotations

import math
import sys

import pytest

from proxyflow.core.errors import UserError
from proxyflow.proxies import parse_proxies
from proxyflow.searching.candidates import candidates_of
from proxyflow.searching.knowledge import Observation, SearchPlan, Trial
from proxyflow.searching.ladder import Ladder
from proxyflow.searching.pool import EVERY, TAKEN, Pool
from proxyflow.searching.samplers import samplers
from proxyflow.spaces.metric import Metric

RANGES = {"rate": {"low": 1e-4, "high": 1.0, "log": True}, "optimizer": ["adam", "sgd"]}
LADDER = Ladder.of(parse_proxies("epochs:5 full"), [0.25, 1.0])
FOUND = candidates_of(RANGES, 20, 0)
PLAN = SearchPlan(FOUND.space, Metric("accuracy", share=True), LADDER, FOUND.grid, budget=6.0)
OBSERVED = tuple(
    Observation(Trial(each, 0, 0), 0.9 - 0.04 * (math.log10(each["rate"]) + 2) ** 2, 0.25) for each in FOUND.grid
)


def test_nothing_is_added_before_enough_is_known_or_without_a_sampler() -> None:
    assert Pool(PLAN, samplers["near"]).plan_after(OBSERVED[: EVERY - 1]) is PLAN
    assert Pool(PLAN).plan_after(OBSERVED) is PLAN


def test_candidates_are_added_near_the_best() -> None:
    grown = Pool(PLAN, samplers["near"]).plan_after(OBSERVED[: 2 * EVERY])
    new = grown.candidates[len(PLAN.candidates) :]
    assert grown.candidates[: len(PLAN.candidates)] == PLAN.candidates
    assert len(set(grown.candidates)) == len(grown.candidates) == 20 + 2 * TAKEN

    def off(rate: float) -> float:
        return abs(math.log10(rate) + 2)

    assert sum(off(each["rate"]) for each in new) / len(new) < sum(off(each["rate"]) for each in FOUND.grid) / 20


def test_a_search_that_resumes_has_the_same_candidates() -> None:
    going = Pool(PLAN, samplers["near"])
    for n in range(len(OBSERVED) + 1):
        grown = going.plan_after(OBSERVED[:n])
    assert Pool(PLAN, samplers["near"]).plan_after(OBSERVED).candidates == grown.candidates
    # Another process may have seen other trainings first.
    other = tuple(reversed(OBSERVED))
    assert going.plan_after(other).candidates == Pool(PLAN, samplers["near"]).plan_after(other).candidates


def test_what_others_train_becomes_a_candidate() -> None:
    another = FOUND.space.configuration({"rate": 0.0123, "optimizer": "sgd"})
    assert Pool(PLAN).plan_after((), [another, FOUND.grid[3]]).candidates == (*PLAN.candidates, another)


def test_a_space_that_is_tried_as_a_whole_is_no_sample() -> None:
    assert FOUND.is_drawn
    assert not candidates_of({"optimizer": ["adam", "sgd"]}, 20, 0).is_drawn
    assert not candidates_of([{"rate": 0.1}, {"rate": 0.2}], 20, 0).is_drawn
    assert candidates_of({"width": {"low": 1, "high": 21}}, 20, 0).is_drawn
    assert not candidates_of({"width": {"low": 1, "high": 20}}, 20, 0).is_drawn


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_sampler_of_a_package_that_is_missing_says_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"proxyflow\[optuna\]"):
        next(samplers[name].propose(FOUND.space, (), 0))
