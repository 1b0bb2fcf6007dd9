"""What tuning on a proxy is expected to lose, against studies in which that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proxyflow.proxies import parse_proxies
from proxyflow.searching.knowledge import Knowledge, Observation, SearchPlan, Trial
from proxyflow.searching.ladder import Ladder
from proxyflow.searching.safety import expected_loss, loss_seen
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.parameters import Float
from proxyflow.spaces.space import Space
from proxyflow.tables import REPORTS, LookupTable, load

SPACE = Space((Float("rate", 0.0, 1.0),))


def knowledge_of(proxy_best: float, n: int = 12, metric: Metric | None = None, size: float = 1.0) -> Knowledge:
    """Values that are best at a rate of .3 on the target, and at another on the proxy; `size` is of a loss."""
    ladder = Ladder.of(parse_proxies("random:0.1 full"), [0.3, 1.0])
    plan = SearchPlan(SPACE, metric or Metric("accuracy", share=True), ladder, SPACE.sample(60, 0), 100.0)
    observed = []
    for place in range(n):
        rate = plan.candidates[place]["rate"]
        for rung, best in enumerate((proxy_best, 0.3)):
            value = 0.9 - 0.4 * (rate - best) ** 2 - 0.2 * (rung == 0)
            if metric is not None and metric.goal == "minimize":
                value = size * (1 - value)
            observed.append(Observation(Trial(plan.candidates[place], rung, 0), value, 1.0))
    return Knowledge(plan, tuple(observed))


def test_a_proxy_that_wants_the_same_loses_little_and_one_that_does_not_loses_what_it_costs() -> None:
    same, other = (expected_loss(knowledge_of(best), 0) for best in (0.3, 0.9))
    assert same.high <= 1.0 < other.high
    assert same.low <= same.value <= same.high
    # It really loses 14 points; how bad a bad choice is, is not told, as values far below the median are cut.
    assert other.low > 3


def test_the_target_loses_less_than_its_proxies() -> None:
    knowledge = knowledge_of(0.5)
    target, proxy = expected_loss(knowledge, 1), expected_loss(knowledge, 0)
    assert target.value < proxy.value
    assert target.more == (0, 0, 0)
    assert proxy.more[0] == pytest.approx(proxy.value - target.value, abs=0.5)


def test_what_was_seen_is_what_the_proxys_first_choice_lost_among_the_trained() -> None:
    knowledge = knowledge_of(0.9)
    rates = [knowledge.plan.candidates[place]["rate"] for place in range(12)]
    values = {rate: 0.9 - 0.4 * (rate - 0.3) ** 2 for rate in rates}
    chosen = min(rates, key=lambda rate: abs(rate - 0.9))
    assert loss_seen(knowledge, 0) == pytest.approx(100 * (max(values.values()) - values[chosen]))
    assert loss_seen(knowledge, 1) == 0
    assert np.isnan(loss_seen(Knowledge(knowledge.plan, ()), 0))


@pytest.mark.parametrize("diverged", [0, 1])
def test_what_diverged_counts_as_the_worst(diverged: int) -> None:
    """The best of a rung that diverges on the other one is no longer the best, or is a bad choice."""
    knowledge = knowledge_of(0.3, metric=Metric("valid_loss", "minimize"))
    best = max((o for o in knowledge.observations if o.trial.rung == 0), key=lambda o: -o.value).trial.configuration
    observed = [
        replace(o, value=np.nan) if (o.trial.configuration, o.trial.rung) == (best, diverged) else o
        for o in knowledge.observations
    ]
    assert loss_seen(knowledge, 0) == 0
    assert loss_seen(Knowledge(knowledge.plan, tuple(observed)), 0) > 0


def test_a_rung_on_which_nothing_learned_chooses_at_random() -> None:
    plan = knowledge_of(0.3).plan
    idle = [Observation(Trial(plan.candidates[n], 0, 0), 0.1, 1.0, unranked=True) for n in range(12)]
    full = [each for each in knowledge_of(0.3).observations if each.trial.rung == 1]
    found = expected_loss(Knowledge(plan, (*idle, *full)), 0)
    assert found.value > expected_loss(knowledge_of(0.3), 0).value + 1


@pytest.mark.parametrize("size", [0.01, 100.0])
def test_losses_of_other_metrics_are_in_their_own_unit(size: float) -> None:
    """A loss that is best at .3 on the target: of 10 plus 400 times the squared distance, at a size of 100."""
    metric = Metric("valid_loss", "minimize")
    right, wrong = (knowledge_of(best, metric=metric, size=size) for best in (0.3, 0.9))
    assert expected_loss(right, 0).value < right.tolerated(20) < expected_loss(wrong, 0).value
    assert 0.03 * size < expected_loss(wrong, 0).value < 2 * size


def test_a_tolerance_is_in_the_unit_of_the_metric() -> None:
    assert knowledge_of(0.3).tolerated(0.5) == 0.5
    small, large = (knowledge_of(0.3, metric=Metric("valid_loss", "minimize"), size=s).tolerated(1) for s in (1, 100))
    assert 0 < small < 0.01
    assert large == pytest.approx(100 * small, rel=0.01)


@pytest.fixture(scope="module")
def table() -> LookupTable:
    return load(REPORTS / "digits")


def test_with_ten_configurations_of_a_lookup_table_it_tells_what_tuning_on_all_of_it_loses(table: LookupTable) -> None:
    """The true loss, of two seeds on the proxy, is in most intervals; and bad proxies are told from good ones."""
    proxies = ("epochs:1", "random:0.1", "epochs:5+width:0.5", "epochs:5")
    steps = table.runs.groupby("strategy")["steps"].median()
    ladder = Ladder.of(
        parse_proxies(" ".join([*proxies, "full"])), [steps[p] / steps["full"] for p in (*proxies, "full")]
    )
    target = np.array([np.mean([table.value(c, seed=s) for s in (0, 1, 2)]) for c in range(len(table))])
    chosen = {p: [max(range(len(table)), key=lambda c: table.value(c, p, seed=s)) for s in (0, 1)] for p in proxies}
    true = {p: 100 * np.mean([target.max() - target[c] for c in found]) for p, found in chosen.items()}
    covered, ordered, n = 0, 0, 8
    for replicate in range(n):
        places = [0, *np.random.default_rng(replicate).permutation(np.arange(1, len(table)))[:9]]
        plan = SearchPlan(table.space, table.metric, ladder, table.configurations, 100.0, seed=replicate)
        observed = tuple(
            Observation(Trial(table.configurations[c], rung, 0), table.value(c, proxy), 1.0)
            for c in places
            for rung, proxy in enumerate((*proxies, "full"))
        )
        losses = {p: expected_loss(Knowledge(plan, observed), rung) for rung, p in enumerate(proxies)}
        covered += sum(losses[p].low <= true[p] <= losses[p].high for p in proxies)
        ordered += losses["epochs:5"].value < losses["random:0.1"].value
    assert covered >= 0.85 * n * len(proxies)
    assert ordered >= n - 1
