"""A search decides by what it has seen alone: within its budget, without repeating itself, and towards the best."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from proxyflow.core.errors import InvalidValue
from proxyflow.proxies import parse_proxies
from proxyflow.searching.decisions import CONFIRMED, CONSECUTIVE, SURE, WAITING, Decision, decide
from proxyflow.searching.knowledge import FIRST, IN_FULL, Knowledge, Observation, SearchPlan, Trial
from proxyflow.searching.ladder import Ladder, expected_trust
from proxyflow.searching.memory import Memory
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.parameters import Categorical, Float
from proxyflow.spaces.space import Space

SPACE = Space((Float("rate", 1e-4, 1.0, log=True), Categorical("optimizer", choices=("adam", "sgd"))))
ACCURACY = Metric("accuracy", share=True)
LADDER = Ladder.of(parse_proxies("epochs:1 epochs:5 full"), [0.05, 0.25, 1.0])
COSTS = (0.05, 0.25, 1.0)


def plan(n: int = 40, **changes: object) -> SearchPlan:
    given = SearchPlan(SPACE, ACCURACY, LADDER, SPACE.sample(n, 0), budget=6.0)
    return dataclasses.replace(given, **changes)


def accuracy(trial: Trial) -> float:
    """Best at a rate of .01 with Adam; the first rung is noisy."""
    off = math.log10(trial.configuration["rate"]) + 2
    loss = 0.05 + 0.04 * off**2 + 0.03 * (trial.configuration["optimizer"] == "sgd")
    noise = np.random.default_rng(abs(hash((trial.configuration["rate"], trial.rung, trial.seed))) % 2**32)
    return max(0.1, 1 - loss - 0.1 * (2 - trial.rung) + (0.01, 0.005, 0.002)[trial.rung] * noise.standard_normal())


def run(search: SearchPlan, known: tuple[Observation, ...] = (), most: int = 1000) -> tuple[Observation, ...]:
    """Observations of a search until it ends, or of its next trainings."""
    cost = np.tile(COSTS, (len(search.candidates), 1))
    observed = list(known)
    while len(observed) < most:
        left = search.budget - sum(each.cost for each in observed)
        decision = decide(Knowledge(search, tuple(observed)), cost, left)
        if decision.trial is None:
            break
        observed.append(Observation(decision.trial, accuracy(decision.trial), COSTS[decision.trial.rung]))
    return tuple(observed)


@pytest.fixture(scope="module")
def searched() -> tuple[Observation, ...]:
    return run(plan())


def test_it_finds_a_good_configuration_within_its_budget(searched: tuple[Observation, ...]) -> None:
    assert sum(each.cost for each in searched) <= 6 + 1e-9
    found = plan().candidates[Knowledge(plan(), searched).best]
    values = sorted((accuracy(Trial(each, 2, 9)) for each in plan().candidates), reverse=True)
    assert accuracy(Trial(found, 2, 9)) >= values[3]
    assert {each.trial.rung for each in searched} == {0, 1, 2} or {each.trial.rung for each in searched} == {0, 2}


def test_no_training_is_asked_for_twice(searched: tuple[Observation, ...]) -> None:
    trials = [each.trial for each in searched]
    assert len(set(trials)) == len(trials)
    assert max(trial.seed for trial in trials if trial.rung < 2) < plan().seeds


def test_it_goes_on_from_its_observations_as_if_it_had_not_been_interrupted(searched: tuple[Observation, ...]) -> None:
    for known in (2, 9):
        assert run(plan(), searched[:known], most=known + 6) == searched[: known + 6]


def test_pending_trainings_are_not_started_again() -> None:
    search, pending = plan(), []
    cost = np.tile(COSTS, (len(search.candidates), 1))
    begun = run(search, most=8)
    for _ in range(6):
        decision = decide(Knowledge(search, begun, tuple(pending)), cost, 5.0)
        assert decision.trial is not None
        assert decision.trial not in (*pending, *(each.trial for each in begun))
        pending.append(decision.trial)


def test_the_first_ones_are_candidates_in_their_order_on_the_cheapest_rung() -> None:
    begun = run(plan(), most=FIRST)
    assert [each.trial for each in begun] == [Trial(each, 0, 0) for each in plan().candidates[:FIRST]]


@pytest.mark.parametrize("budget", [0.01, 0.07, 0.5, 2.0])
def test_small_budgets_are_kept(budget: float) -> None:
    assert sum(each.cost for each in run(plan(budget=budget))) <= budget + 1e-9


def test_it_stops_when_it_is_sure() -> None:
    generous = plan(budget=60.0, tolerance=20.0)
    observed = run(generous)
    assert sum(each.cost for each in observed) < 30
    knowledge = Knowledge(generous, observed)
    assert any(
        each.trial.rung == 2 and each.trial.configuration == generous.candidates[knowledge.best] for each in observed
    )
    assert knowledge.chance_of_better(knowledge.best, 20.0) < 0.05
    assert len(knowledge.seeds_seen(knowledge.best)) == CONFIRMED


def test_being_sure_once_does_not_stop_it() -> None:
    generous = plan(budget=60.0, tolerance=20.0)
    observed, sure = run(generous), []
    for n in range(1, len(observed) + 1):
        known = Knowledge(generous, observed[:n])
        sure.append(known.best in known.in_full and known.chance_of_better(known.best, 20.0) < SURE)
    assert all(sure[-CONSECUTIVE:])
    assert sure[-CONSECUTIVE - 1] is False or len(Knowledge(generous, observed[:-1]).seeds_seen(known.best)) < CONFIRMED
    cost = np.tile(COSTS, (len(generous.candidates), 1))
    assert decide(Knowledge(generous, observed[:-1]), cost, 30.0).trial == observed[-1].trial


def test_it_confirms_the_best_with_another_seed_before_it_stops() -> None:
    search, cost = plan(budget=60.0, tolerance=20.0), np.tile(COSTS, (40, 1))
    observed = run(search)
    knowledge = Knowledge(search, observed)
    seeds = [
        each
        for each in observed
        if each.trial.rung == 2 and each.trial.configuration == search.candidates[knowledge.best]
    ]
    before = Knowledge(search, observed[: observed.index(seeds[-1])])
    assert before.best == knowledge.best
    again = decide(before, cost, 30.0)
    assert again.trial == seeds[-1].trial
    # Another process confirms it meanwhile, and this one does something else.
    elsewhere = decide(Knowledge(search, before.observations, (seeds[-1].trial,)), cost, 30.0)
    assert elsewhere.trial != seeds[-1].trial
    once = dataclasses.replace(search, confirm=1)
    stopped = Knowledge(once, run(once))
    assert len(stopped.seeds_seen(stopped.best)) == 1
    assert decide(stopped, cost, 30.0).trial is None


def test_a_configuration_is_trained_in_full_whatever_the_budget() -> None:
    for budget in (1.0, 1.2, 1.5, 2.0, 3.3):
        search = plan(budget=budget)
        observed = run(search)
        knowledge = Knowledge(search, observed)
        assert knowledge.recommended in knowledge.in_full
        assert sum(each.cost for each in observed) <= budget + 1e-9


def test_what_is_kept_back_pays_for_the_best_candidate_and_not_only_for_the_cheapest() -> None:
    search = plan(8, budget=2.0)
    cost = np.tile(COSTS, (8, 1))
    observed = run(search, most=FIRST)
    knowledge = Knowledge(search, observed)
    cost[int(np.argmin(knowledge.mean))] *= 0.8
    decisions = [(left, decide(knowledge, cost, left).trial) for left in np.linspace(1.0, 1.4, 9)]
    on_proxies = [(left, trial) for left, trial in decisions if trial is not None and trial.rung < 2]
    assert on_proxies
    for left, trial in on_proxies:
        assert left - cost[search.places[trial.configuration], trial.rung] >= cost[knowledge.best, 2] - 1e-9
    assert all(trial is not None for _, trial in decisions)


def test_a_part_of_the_budget_is_for_the_full_data() -> None:
    for budget in (4.0, 8.0, 12.0):
        observed = run(plan(budget=budget))
        assert sum(each.cost for each in observed if each.trial.rung == 2) >= math.floor(IN_FULL * budget)


def test_full_trainings_that_have_been_started_count_for_the_part_that_is_theirs() -> None:
    search, cost = plan(budget=4.0), np.tile(COSTS, (40, 1))
    observed = run(search, most=FIRST)
    started = tuple(Trial(each, 2, 0) for each in search.candidates[-2:])
    left = 4.0 - sum(each.cost for each in observed) - len(started)
    # Both are in full, so that what is left may go to proxies.
    decision = decide(Knowledge(search, observed, started), cost, min(left, 1.2))
    assert decision.trial is not None
    assert decision.trial.rung < 2


def test_seeds_with_gaps_are_filled() -> None:
    search = plan(n=3, budget=30.0)
    earlier = tuple(Observation(Trial(each, 2, 1), accuracy(Trial(each, 2, 1)), 0.0) for each in search.candidates)
    observed = run(search, earlier)
    trials = [each.trial for each in observed]
    assert len(set(trials)) == len(trials)
    assert {trial.seed for trial in trials if trial.rung == 2} == {0, 1, 2}
    cost = np.tile(COSTS, (3, 1))
    assert "all of its seeds" in decide(Knowledge(search, observed), cost, 10.0).reason


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5, 0.4], [0.1, 0.1, 0.1, 0.1], [0.5, 0.7, 0.7, 0.7]])
def test_ties_do_not_make_it_sure(values: list[float]) -> None:
    search = plan(tolerance=0.5)
    observed = [Observation(Trial(search.candidates[n], 0, 0), value, 0.05) for n, value in enumerate(values)]
    observed.append(Observation(Trial(search.candidates[0], 2, 0), 0.9, 1.0))
    knowledge = Knowledge(search, tuple(observed))
    assert np.abs(knowledge.evidence.value).max() < 100
    _, low, high = knowledge.value_of(0)
    assert low < 0.9 < high
    assert decide(knowledge, np.tile(COSTS, (40, 1)), 5.0).trial is not None


def test_many_workers_open_with_many_candidates_and_then_wait() -> None:
    search, pending = plan(n=6), []
    cost = np.tile(COSTS, (6, 1))
    while (decision := decide(Knowledge(search, (), tuple(pending)), cost, 5.0)).trial:
        pending.append(decision.trial)
    assert len(pending) == 6
    assert decision.reason == WAITING


def test_a_memory_of_other_values_is_taken_as_far_as_it_goes() -> None:
    known = [{"rate": 0}, {"rate": 1e-9}, {"rate": 50}, {"rate": "auto"}, {"rate": 0.01, "optimizer": "lion"}, {"x": 1}]
    memory = Memory("odd", tuple(known), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    within = memory.within(SPACE)
    assert [each["rate"] for each in within.configurations] == [1e-4, 1e-4, 1.0, SPACE.centre["rate"]]
    assert within.values == (0.1, 0.2, 0.3, 0.6)
    assert np.isfinite(Knowledge(plan(memories=(memory, Memory("empty", ({"rate": "no"},), (0.5,)))), ()).mean).all()


def test_what_learned_nothing_on_a_proxy_is_doubted_and_not_discarded() -> None:
    search = plan()
    known = run(search, most=12)
    place = next(
        place for place in range(40) if all(each.trial.configuration != search.candidates[place] for each in known)
    )
    trial = Trial(search.candidates[place], 0, 0)
    believed = []
    for unranked in (False, True):
        knowledge = Knowledge(search, (*known, Observation(trial, 0.1, 0.05, unranked)))
        believed.append(knowledge.value_of(place)[0])
    assert believed[1] > believed[0]


def test_a_rung_on_which_nothing_learns_is_left() -> None:
    search = plan()
    cost = np.tile(COSTS, (40, 1))
    observed: list[Observation] = []
    while (decision := decide(Knowledge(search, tuple(observed)), cost, 6 - sum(o.cost for o in observed))).trial:
        trial = decision.trial
        value = 0.1 if trial.rung == 0 else accuracy(trial)
        observed.append(Observation(trial, value, COSTS[trial.rung], unranked=trial.rung == 0))
    on_it = sum(each.trial.rung == 0 for each in observed)
    assert on_it == FIRST
    found = search.candidates[Knowledge(search, tuple(observed)).best]
    assert accuracy(Trial(found, 2, 9)) > np.median([accuracy(Trial(each, 2, 9)) for each in search.candidates])


def test_a_training_that_diverged_counts_as_the_worst() -> None:
    search = plan()
    known = run(search, most=10)
    trial = decide(Knowledge(search, known), np.tile(COSTS, (40, 1)), 5.0).trial
    assert trial is not None
    knowledge = Knowledge(search, (*known, Observation(trial, math.nan, 0.05)))
    assert np.isfinite(knowledge.belief.mean).all()
    assert knowledge.best != search.places[trial.configuration]


def memory_of(name: str, sign: float) -> Memory:
    """Another data set, whose accuracies are lower, or whose best configurations are the worst here."""
    known = SPACE.sample(30, 7)
    values = [0.5 + sign * 0.4 * (accuracy(Trial(each, 2, 5)) - 0.8) for each in known]
    # It knows a hyperparameter more, and one less.
    return Memory(name, tuple({"rate": each["rate"], "layers": 3} for each in known), tuple(values))


def best_after(search: SearchPlan, budget: float) -> tuple[float, Knowledge]:
    knowledge = Knowledge(search, run(dataclasses.replace(search, budget=budget)))
    return accuracy(Trial(search.candidates[knowledge.best], 2, 9)), knowledge


def test_a_memory_that_agrees_saves_trainings() -> None:
    without, _ = best_after(plan(), 1.25)
    found, knowledge = best_after(plan(memories=(memory_of("alike", 1),)), 1.25)
    assert found >= without
    values = sorted((accuracy(Trial(each, 2, 9)) for each in plan().candidates), reverse=True)
    assert found >= values[9]
    assert set(knowledge.weights) == {"alike"}


def test_a_memory_that_disagrees_loses_its_weight_and_does_no_harm() -> None:
    without, _ = best_after(plan(), 4.0)
    found, knowledge = best_after(plan(memories=(memory_of("opposite", -1),)), 4.0)
    _, agreeing = best_after(plan(memories=(memory_of("alike", 1),)), 4.0)
    assert found >= without - 0.02
    assert knowledge.weights["opposite"] < 0.2 < agreeing.weights["alike"]


def test_memories_do_not_change_what_can_be_chosen() -> None:
    search = plan(memories=(memory_of("alike", 1), memory_of("opposite", -1)))
    observed = run(search, most=15)
    assert all(each.trial.configuration in search.candidates for each in observed)
    knowledge = Knowledge(search, observed)
    assert len(knowledge.mean) == len(search.candidates) == knowledge.samples.shape[1]


def test_less_is_better_for_losses() -> None:
    search = plan(metric=Metric("loss", "minimize"))
    cost = np.tile(COSTS, (40, 1))
    observed: list[Observation] = []
    while (decision := decide(Knowledge(search, tuple(observed)), cost, 6 - sum(o.cost for o in observed))).trial:
        observed.append(Observation(decision.trial, 1 - accuracy(decision.trial), COSTS[decision.trial.rung]))
    knowledge = Knowledge(search, tuple(observed))
    value, low, high = knowledge.value_of(knowledge.best)
    assert 0 < low < value < high < 0.3


def test_a_ladder_ends_in_full_and_has_each_rung_once() -> None:
    for wrong in ("full epochs:1", "epochs:1", "epochs:1 epochs:1 full"):
        with pytest.raises(InvalidValue) as caught:
            Ladder.of([proxy for text in wrong.split() for proxy in parse_proxies(text)], [0.5] * len(wrong.split()))
        assert caught.value.name == "ladder"


def test_more_steps_are_trusted_more() -> None:
    proxies = parse_proxies("epochs:1 epochs:5 full")
    assert expected_trust(proxies[0], 0.05) < expected_trust(proxies[1], 0.25) < expected_trust(proxies[2], 1) == 1


@pytest.mark.parametrize("free", [0, 5])
@pytest.mark.parametrize("budget", [1.0, 1.5, 2.5, 2.9, 4.0])
def test_proxies_leave_what_the_next_training_in_full_costs(budget: float, free: int) -> None:
    """The rest pays for no training in full, and the last one is in full: proxies after it would find nothing."""
    search = plan(n=20, budget=budget)
    known = tuple(Observation(Trial(each, 2, 0), accuracy(Trial(each, 2, 0)), 0.0) for each in search.candidates[:free])
    observed = run(search, known)
    assert observed[-1].trial.rung == LADDER.target
    assert sum(each.trial.rung == LADDER.target for each in observed[free:]) >= int(budget / 2)
    assert 0 <= search.budget - sum(each.cost for each in observed) < 1


def test_it_waits_for_the_only_training_in_full_that_another_process_makes() -> None:
    search, cost = plan(budget=1.5), np.tile(COSTS, (40, 1))
    observed = run(search, most=FIRST)
    knowledge = Knowledge(search, observed, (Trial(search.candidates[0], 2, 0),))
    assert decide(knowledge, cost, 0.3) == Decision(None, WAITING)


def test_what_failed_is_not_said_to_be_too_expensive() -> None:
    search = plan(n=2, budget=8.0)
    first = search.candidates[0]
    observed = tuple(
        Observation(Trial(first, rung, seed), 0.9, COSTS[rung])
        for rung, n in ((0, 2), (1, 2), (2, 3))
        for seed in range(n)
    )
    cost = np.tile(COSTS, (2, 1))
    cost[1] = np.inf
    ended = decide(Knowledge(search, observed), cost, 4.0)
    assert ended.trial is None
    assert "that has not failed" in ended.reason


def test_values_of_trainings_that_learned_nothing_do_not_make_it_sure_of_the_others() -> None:
    """They differ by noise alone, which says nothing of how much configurations differ."""
    search = plan()
    idle = [
        Observation(Trial(each, 0, 0), 0.1 + 0.002 * (n % 3), 0.05, unranked=True)
        for n, each in enumerate(search.candidates[:9])
    ]
    idle.append(Observation(Trial(search.candidates[9], 0, 0), 0.104, 0.05))
    in_full = [Observation(Trial(search.candidates[n], 2, 0), value, 1.0) for n, value in ((1, 0.5), (4, 0.7))]
    knowledge = Knowledge(search, (*idle, *in_full))
    _, low, high = knowledge.value_of(20)
    assert high - low > 0.1
    assert low < 0.7
