"""The verdict is what people act on: it must recommend nothing that the numbers do not carry, nor claim that they don't."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, training, trainings_frame

from proxyflow.quality.bootstrap import Draws, Estimate
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.policies import FULL_SEARCH, PROXY, RANDOM_SEARCH, Policy, Replay
from proxyflow.quality.ranked import Ranked
from proxyflow.quality.safety import safety_verdict
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.quality.truth import OTHER_SEEDS, SAME_RUNS
from proxyflow.quality.verdict import ENOUGH, MANY, ONE_DATASET, Verdict, configurations_needed, describe, judge
from proxyflow.reporting.families import FAMILIES

# What no study can show: that something does not matter, or that there is no difference.
CLAIMS = re.compile(r"not matter|no difference|no effect|irrelevant|equally good|prove|carry|any proxy|useless", re.I)
SAMPLES, CONFIGURATIONS = 400, 24
# Interval of what a policy loses: the whole within half a point, undecided, and above.
GOOD, UNDECIDED, BAD = (0.1, 0.4), (0.2, 0.8), (0.9, 2.0)


def made(
    kind: str,
    ends: tuple[float, float],
    strategy: str = "",
    k: int = 3,
    cost: float = 5.0,
    excess: tuple[float, float] | None = None,
) -> Policy:
    """A policy whose regret has this interval; without `excess` full search loses nothing."""

    def spread(low: float, high: float) -> np.ndarray:
        # The outermost 2.5 % lie beyond the ends.
        return np.linspace(low - (high - low) / 38, high + (high - low) / 38, SAMPLES)

    lost, more = spread(*ends), spread(*(excess or ends))
    middle = (sum(ends) / 2, sum(excess or ends) / 2)
    return Policy(
        kind,
        strategy,
        k,
        Estimate(cost, cost, cost),
        Estimate(middle[0], *ends),
        Estimate(middle[1], *(excess or ends)),
        Estimate(1.0, 0.5, 1.5) if kind == PROXY else Estimate(math.nan),
        0.9,
        lost,
        more,
    )


def replay_of(
    policies: Sequence[Policy],
    full: tuple[float, float] = (0.0, 0.0),
    judged_by: str = OTHER_SEEDS,
    fewest: int = CONFIGURATIONS,
    left_out: tuple[str, ...] = (),
) -> Replay:
    everything = made(FULL_SEARCH, full, k=CONFIGURATIONS, cost=float(CONFIGURATIONS), excess=(0.0, 0.0))
    return Replay((everything, *policies), CONFIGURATIONS, 6, judged_by, fewest, left_out)


def target(configurations: int = CONFIGURATIONS, datasets: Sequence[str] = ("digits", "letters")) -> pd.DataFrame:
    names = [f"lr={i:02}" for i in range(configurations)]
    frames = [pd.DataFrame({"dataset": name, "config": names, "cluster": range(configurations)}) for name in datasets]
    return pd.concat(frames, ignore_index=True)


def verdict_of(replay: Replay, tolerance: float = 0.5, configurations: int = CONFIGURATIONS) -> Verdict:
    counts = np.random.default_rng(0).multinomial(
        configurations, np.full(configurations, 1 / configurations), size=SAMPLES
    )
    verdict = judge(replay, Draws(counts.astype(float)), target(configurations), QualityOptions(tolerance=tolerance))
    assert all(sentence.endswith(".") for sentence in verdict.sentences)
    assert not CLAIMS.search(" ".join(verdict.sentences))
    return verdict


def proxy(name: str, ends: tuple[float, float], **changes: float) -> Policy:
    return made(PROXY, ends, name, **changes)  # type: ignore[arg-type]


def test_the_cheapest_within_the_tolerance_is_recommended_and_not_the_best() -> None:
    policies = [proxy("a", (0.0, 0.1), cost=9.0), proxy("b", GOOD, cost=4.0), proxy("c", BAD, cost=2.0)]
    verdict = verdict_of(replay_of([*policies, proxy("d", UNDECIDED, cost=3.0)]))
    assert (verdict.strategy, verdict.k, verdict.criterion) == ("b", 3, "regret")
    assert describe(policies[1]) == "rank by b, then train the best 3 on the full data"
    # The words are those of a check.
    lost = safety_verdict("Tuning on b and training the best 3 on the full data", Estimate(0.25, *GOOD), 0.5, "points")
    assert verdict.sentences[0].startswith(lost)
    assert "costs 4.0 full trainings" in verdict.sentences[0]


def test_each_proxy_alone_is_judged_in_the_words_of_a_check() -> None:
    policies = [proxy("a", BAD, k=1, cost=9.0), proxy("b", GOOD, k=1, cost=4.0), proxy("c", UNDECIDED, k=1, cost=2.0)]
    verdict = verdict_of(replay_of([*policies, proxy("b", BAD, k=2, cost=5.0), made(RANDOM_SEARCH, GOOD, k=1)]))
    assert verdict.proxies == (
        "Tuning on c is not shown to be safe: it is expected to lose 0.50 points [0.20, 0.80], and up to 0.5 is accepted.",
        "Tuning on b is safe: it is expected to lose 0.25 points [0.10, 0.40], at most 0.5.",
        "Tuning on a is not safe: it is expected to lose 1.45 points [0.90, 2.00], and up to 0.5 is accepted.",
    )
    # Where full search is not within the tolerance, they are compared with it.
    noisy = [proxy("a", (0.3, 1.2), k=1, excess=(-0.2, 0.3))]  # type: ignore[arg-type]
    [text] = verdict_of(replay_of(noisy, full=(0.2, 1.0))).proxies
    assert "0.05 points [-0.20, 0.30] more than full search" in text
    assert verdict_of(replay_of(noisy, fewest=ENOUGH - 1)).proxies == ()


def test_how_many_policies_were_compared_is_told_and_that_nothing_was_corrected_for_it() -> None:
    verdict = verdict_of(replay_of([proxy(name, GOOD, k=k) for name in "abc" for k in (1, 2)]))
    assert verdict.compared == 6
    [text] = [each for each in verdict.sentences if "policies were compared" in each]
    assert text.startswith("6 policies were compared: 3 proxies and random search, each with k = 1, 2.")
    assert "not corrected" in text


def test_a_proxy_that_saves_nothing_is_named() -> None:
    verdict = verdict_of(replay_of([proxy("a", GOOD, cost=6.0), proxy("b", GOOD, k=2, cost=50.0)]))
    [text] = [each for each in verdict.sentences if "saves too little" in each]
    assert text.startswith("b ")
    assert "48.0" in text


def test_what_the_recommended_proxy_cannot_rank_is_told_and_nothing_of_other_proxies() -> None:
    counts = np.random.default_rng(0).multinomial(CONFIGURATIONS, np.full(CONFIGURATIONS, 1 / CONFIGURATIONS), SAMPLES)
    lost = {
        "a": Ranked(3, 2 * CONFIGURATIONS, ("lr=01", "lr=02"), CONFIGURATIONS, {}),
        "b": Ranked(5, 2 * CONFIGURATIONS, ("lr=03",), CONFIGURATIONS, {}),
    }

    def told(policy: Policy, ranked: dict[str, Ranked]) -> list[str]:
        found = judge(replay_of([policy]), Draws(counts.astype(float)), target(), QualityOptions(), ranked)
        return [sentence for sentence in found.sentences if "cannot rank" in sentence]

    [text] = told(proxy("a", GOOD), lost)
    assert text.startswith(
        f"a cannot rank 3 of {2 * CONFIGURATIONS} pairs (of 2 of the {CONFIGURATIONS} configurations)"
    )
    assert told(proxy("c", GOOD), lost) == []
    assert told(proxy("a", BAD), lost) == []
    assert told(proxy("a", GOOD), {"a": Ranked(0, CONFIGURATIONS, (), CONFIGURATIONS, {})}) == []
    assert told(proxy("a", GOOD), {"a": Ranked(None, CONFIGURATIONS, (), CONFIGURATIONS, {})}) == []


def test_random_search_is_recommended_where_it_is_the_cheapest() -> None:
    verdict = verdict_of(replay_of([made(RANDOM_SEARCH, GOOD, k=4, cost=4.0), proxy("a", GOOD, cost=6.0)]))
    assert (verdict.strategy, verdict.k) == ("", 4)
    assert verdict.sentences[0].startswith("Random search over 4 configurations")


def test_an_interval_that_ends_above_the_tolerance_is_not_enough() -> None:
    replay = replay_of([proxy("a", UNDECIDED)])
    assert verdict_of(replay, tolerance=0.79).strategy == ""
    assert verdict_of(replay, tolerance=0.81).strategy == "a"


def test_a_policy_that_costs_as_much_as_full_search_is_none() -> None:
    verdict = verdict_of(replay_of([proxy("a", GOOD, cost=float(CONFIGURATIONS)), proxy("b", UNDECIDED)]))
    assert (verdict.strategy, verdict.compared) == ("", 1)


def test_a_policy_whose_cost_is_not_known_is_not_recommended() -> None:
    verdict = verdict_of(replay_of([proxy("a", GOOD, cost=math.nan)]))
    assert verdict.strategy == ""


def test_where_full_search_is_not_within_the_tolerance_policies_are_held_against_it() -> None:
    policies = [
        proxy("a", (0.3, 1.2), cost=4.0, excess=(-0.2, 0.3)),  # type: ignore[arg-type]
        proxy("b", (0.3, 1.4), cost=3.0, excess=(0.0, 0.8)),  # type: ignore[arg-type]
    ]
    verdict = verdict_of(replay_of(policies, full=(0.2, 1.0)))
    assert (verdict.strategy, verdict.criterion) == ("a", "excess")
    assert verdict.sentences[0].startswith("Tuning on a")
    assert "Full search itself is not shown" in verdict.sentences[1]
    assert "0.60 [0.20, 1.00]" in verdict.sentences[1]


def test_where_none_qualifies_it_says_how_many_configurations_would_decide() -> None:
    verdict = verdict_of(replay_of([proxy("maybe", (0.2, 0.6)), proxy("bad", BAD)]))
    assert (verdict.strategy, verdict.k) == ("", 0)
    assert "the intervals are too wide" in verdict.sentences[0]
    # The half-width above the value, .2, must become .1: four times the configurations.
    [text] = [each for each in verdict.sentences if "would decide" in each]
    assert "on maybe" in text
    assert f"about {4 * CONFIGURATIONS} configurations (now {CONFIGURATIONS})" in text


def test_where_all_lose_more_than_that_no_data_would_decide() -> None:
    verdict = verdict_of(replay_of([proxy("bad", BAD), proxy("worse", (1.5, 3.0))]))
    assert verdict.strategy == ""
    assert verdict.sentences[0].startswith("No cheaper search is safe, to lose at most 0.5 points")
    assert not [each for each in verdict.sentences if "would decide" in each]


@pytest.mark.parametrize(
    ("value", "high", "count"),
    [(0.2, 0.8, 48), (0.4, 0.6, 48), (0.0, 0.6, 18), (0.6, 0.9, None), (0.2, 0.4, None), (0.499, 0.9, None)],
)
def test_the_half_width_falls_with_the_root_of_the_number(value: float, high: float, count: int | None) -> None:
    assert configurations_needed(Estimate(value, 0.0, high), 0.5, 12) == (count and max(count, ENOUGH))
    assert count is None or count <= MANY


def test_a_verdict_that_hangs_on_one_configuration_names_it() -> None:
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=2000).astype(float)
    # The policy is good wherever configuration 5 is drawn, and bad elsewhere; a third of the samples lack it.
    lost = np.where(counts[:, 5] > 0, 0.1, 0.9)
    sure = np.full(2000, 0.2)

    def policy(name: str, samples: np.ndarray, cost: float) -> Policy:
        ends = Estimate(0.1, *np.quantile(samples, [0.025, 0.975]))
        nothing = Estimate(math.nan)
        return Policy(PROXY, name, 1, Estimate(cost), ends, ends, nothing, 0.5, samples, samples)

    full = made(FULL_SEARCH, (0.0, 0.0), k=12, cost=12.0)
    draws = Draws(counts)
    steady = judge(
        Replay((full, policy("sure", sure, 3.0)), 12, 6, OTHER_SEEDS, ENOUGH),
        draws,
        target(12),
        QualityOptions(tolerance=0.5),
    )
    assert (steady.strategy, steady.depends_on) == ("sure", ())
    # Good only where configuration 5 is missing: without it the policy would be recommended.
    shaky = judge(
        Replay((full, policy("shaky", 1 - lost, 3.0)), 12, 6, OTHER_SEEDS, ENOUGH),
        draws,
        target(12),
        QualityOptions(tolerance=0.5),
    )
    assert (shaky.strategy, shaky.depends_on) == ("", ("lr=05",))
    assert "depends on a single configuration: without lr=05" in shaky.sentences[-1]


def test_runs_that_judge_themselves_are_told_to_flatter() -> None:
    texts = {
        judged_by: " ".join(verdict_of(replay_of([proxy("a", GOOD)], judged_by=judged_by)).sentences)
        for judged_by in (OTHER_SEEDS, SAME_RUNS)
    }
    assert "test_examples" in texts[SAME_RUNS]
    assert "test_examples" not in texts[OTHER_SEEDS]


def test_a_recommendation_from_one_data_set_asks_for_another() -> None:
    draws = Draws(np.ones((SAMPLES, CONFIGURATIONS)))
    for datasets, asked in ((("digits",), True), (("digits", "letters"), False)):
        verdict = judge(replay_of([proxy("a", GOOD)]), draws, target(datasets=datasets), QualityOptions(tolerance=0.5))
        assert verdict.strategy == "a"
        assert (ONE_DATASET in verdict.sentences) == asked


def test_too_few_configurations_decide_nothing() -> None:
    verdict = verdict_of(replay_of([proxy("a", GOOD)], fewest=ENOUGH - 1))
    assert verdict.strategy == ""
    assert verdict.sentences[0].startswith(f"No verdict yet: {ENOUGH - 1} configurations are too few")


def test_without_intervals_or_proxies_there_is_no_verdict() -> None:
    replay = replay_of([proxy("a", GOOD)])
    assert (
        judge(replay, None, target(), QualityOptions(tolerance=0.5))
        .sentences[0]
        .startswith("No verdict yet: it needs intervals")
    )
    for none in (Replay((), math.nan, 0, SAME_RUNS), replay_of([])):
        assert verdict_of(none).strategy == ""


def whole(rows: Sequence[dict[str, object]], **options: float) -> StudyQuality:
    return measure_study(trainings_frame(rows), QualityOptions(**options), FAMILIES)  # type: ignore[arg-type]


def test_a_study_with_a_good_and_a_bad_proxy_recommends_the_good_one() -> None:
    quality = whole(noisy_study({"random:0.5": (0.3, 0.0005), "easiest:0.1": (0.1, 0.3)}, n=ENOUGH), bootstrap=300)
    verdict = quality.verdict
    assert verdict.strategy == "random:0.5"
    chosen = quality.policies.table.query("strategy == 'random:0.5' and k == @verdict.k").iloc[0]
    assert chosen["regret_high"] <= verdict.tolerance
    cheaper = quality.policies.table.query("cost < @chosen.cost")
    assert (cheaper["regret_high"] > verdict.tolerance).all()


def test_noise_is_not_recommended() -> None:
    quality = whole(noisy_study({"random:0.1": (0.01, 3.0)}, n=ENOUGH), bootstrap=300)
    assert quality.verdict.strategy == ""


def test_a_study_without_intervals_has_no_verdict() -> None:
    rows = [training(name, f"lr={i}", 0.5 + i / 100) for name in ("full", "random:0.1") for i in range(10)]
    assert whole(rows, bootstrap=0).verdict.sentences[0].startswith("No verdict yet")


def test_an_end_that_is_the_tolerance_on_paper_is_within_it() -> None:
    ends = (0.1, 0.3 + 0.2)
    policy = proxy("a", ends)
    above = policy.samples + 4e-15  # as the last digits of floats fall
    verdict = verdict_of(replay_of([replace(policy, samples=above, excess_samples=above)]))
    assert verdict.strategy == "a"


def test_proxies_that_are_left_out_are_named() -> None:
    text = " ".join(verdict_of(replay_of([proxy("a", GOOD)], left_out=("b", "c"))).sentences)
    assert "b, c" in text
    alone = verdict_of(replay_of([], left_out=("b",)))
    assert (alone.strategy, "b" in alone.sentences[0]) == ("", True)


def test_where_no_cost_is_known_that_is_the_reason() -> None:
    verdict = verdict_of(replay_of([proxy("a", GOOD, cost=math.nan), proxy("b", BAD, cost=math.nan)]))
    assert verdict.strategy == ""
    assert "cost_basis" in verdict.sentences[0]


def test_a_choice_whose_cost_is_not_known_is_told() -> None:
    found = verdict_of(replay_of([replace(proxy("a", GOOD), choice_known=False)])).sentences[0]
    assert "unknown cost" in found
    assert "unknown cost" not in verdict_of(replay_of([proxy("a", GOOD)])).sentences[0]


def test_a_verdict_that_many_configurations_move_ends_near_the_tolerance() -> None:
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=2000).astype(float)
    # Each configuration adds a little where it is missing, so that without any one the end is beyond the tolerance.
    lost = 0.02 + 0.075 * ((counts == 0).sum(axis=1) + np.random.default_rng(2).random(2000))
    policy = proxy("a", (0.1, 0.49))
    high = float(np.quantile(lost, 0.975))
    samples = lost * (0.49999 / high)
    shaky = replace(policy, samples=samples, excess_samples=samples)
    full = made(FULL_SEARCH, (0.0, 0.0), k=12, cost=12.0)
    verdict = judge(
        Replay((full, shaky), 12, 6, OTHER_SEEDS, ENOUGH), Draws(counts), target(12), QualityOptions(tolerance=0.5)
    )
    assert verdict.strategy == "a"
    assert len(verdict.depends_on) > 3
    assert any(verdict.depends_on[0] in sentence for sentence in verdict.sentences)
