"""What a policy loses is what people decide by, so each kind is held against a search that is played out by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.bootstrap import STRETCH, draw, number_configurations
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.policies import FULL_SEARCH, PROXY, RANDOM_SEARCH, Policy, Replay, replay
from proxyflow.quality.runs import TARGET
from proxyflow.quality.searches import Searches
from proxyflow.quality.truth import OTHER_SEEDS, SAME_RUNS, TEST, TEST_OF_OTHER_SEEDS, true_values

STRATEGY = "random:0.1"


def study(
    n: int = 8, seeds: Sequence[int] = (0, 1, 2), datasets: Sequence[str] = ("digits", "letters"), noise: float = 0.02
) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    rows = []
    for dataset in datasets:
        quality = rng.uniform(0.5, 0.9, n)
        for strategy, spread, cost in ((TARGET, noise, 10.0), (STRATEGY, 3 * noise, 1.0)):
            for seed in seeds:
                for index, value in enumerate(quality + spread * rng.normal(size=n)):
                    seconds = {"train_seconds": cost, "examples_seen": 100 * cost}
                    rows.append(training(strategy, f"lr={index}", float(value), dataset=dataset, seed=seed, **seconds))
    return number_configurations(trainings_frame(rows))


def replayed(runs: pd.DataFrame, samples: int = 0, basis: str = "examples_seen") -> Replay:
    pairs = {name: make_pairs(runs, name) for name in runs["strategy"].unique()}
    draws = draw(runs, samples) if samples else None
    return replay(pairs, runs[runs["strategy"] == TARGET], draws, QualityOptions(basis))


def only(found: Replay, kind: str, k: int) -> Policy:
    [policy] = [each for each in found.policies if (each.kind, each.k) == (kind, k)]
    return policy


def tables(runs: pd.DataFrame) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per data set and seed: values on proxy and target, and the mean of the target's other seeds."""
    wide = runs.pivot_table(index=["dataset", "config"], columns=["strategy", "seed"], values="objective")
    found = {}
    for dataset, part in wide.groupby(level="dataset"):
        for seed in part[TARGET].columns:
            others = part[TARGET].drop(columns=seed).mean(axis=1)
            found[str(dataset), int(seed)] = (
                part[STRATEGY][seed].to_numpy(),
                part[TARGET][seed].to_numpy(),
                others.to_numpy(),
            )
    return found


def test_further_seeds_of_the_target_judge_and_are_no_searches() -> None:
    runs = study()
    fewer = runs[(runs["strategy"] == TARGET) | (runs["seed"] != 2)]
    lost = [
        100 * (truth.max() - truth[int(np.argmax(proxy))])
        for (_, seed), (proxy, _, truth) in tables(runs).items()
        if seed != 2
    ]
    found = replayed(fewer)
    assert (found.n_searches, found.left_out) == (4, ())
    assert only(found, PROXY, 1).regret.value == pytest.approx(np.mean(lost), abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_policy_is_played_out_on_every_data_set_and_seed_and_judged_by_the_other_seeds(k: int) -> None:
    runs = study()
    lost = []
    for proxy, target, truth in tables(runs).values():
        finalists = np.argsort(-proxy)[:k]
        taken = finalists[np.argmax(target[finalists])]
        lost.append(100 * (truth.max() - truth[taken]))
    found = replayed(runs)
    assert found.judged_by == OTHER_SEEDS
    assert (found.n_configurations, found.n_searches) == (8, 6)
    policy = only(found, PROXY, k)
    assert policy.regret.value == pytest.approx(np.mean(lost), abs=1e-9)
    # Eight configurations at a tenth of the cost, and the finalists.
    assert policy.cost.value == pytest.approx(0.8 + k)
    full = [100 * (truth.max() - truth[np.argmax(target)]) for _, target, truth in tables(runs).values()]
    assert only(found, FULL_SEARCH, 8).regret.value == pytest.approx(np.mean(full), abs=1e-9)
    assert policy.excess.value == pytest.approx(np.mean(lost) - np.mean(full), abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_random_search_is_the_mean_over_all_choices_of_so_many_configurations(k: int) -> None:
    runs = study(n=6)
    lost = []
    for _, target, truth in tables(runs).values():
        each = [max(chosen, key=lambda i: target[i]) for chosen in itertools.combinations(range(6), k)]
        lost.append(np.mean([100 * (truth.max() - truth[i]) for i in each]))
    assert only(replayed(runs), RANDOM_SEARCH, k).regret.value == pytest.approx(np.mean(lost), abs=1e-9)


def test_random_search_at_equal_cost_trains_as_many_as_the_policy_costs() -> None:
    found = replayed(study(n=16))
    # 1.6 for the proxy and 2 finalists.
    assert only(found, PROXY, 2).cost.value == pytest.approx(3.6)
    assert only(found, PROXY, 2).random.value == pytest.approx(only(found, RANDOM_SEARCH, 3).regret.value)


def test_a_bootstrap_sample_is_the_study_with_each_configuration_written_down_as_often_as_it_was_drawn() -> None:
    runs = study(n=7)
    pairs = make_pairs(runs, STRATEGY).frame.merge(true_values(runs[runs["strategy"] == TARGET])[0])
    contests = [np.asarray(rows) for rows in pairs.groupby(["dataset", "seed"]).indices.values()]
    counts = np.array([2.0, 0, 1, 0, 3, 0, 1])
    weights = counts[pairs["cluster"].to_numpy()][None]
    ties = np.linspace(0, 0.9, len(pairs))[None]
    weighted = Searches(pairs, contests, weights, ties, ties)
    written = pairs.loc[np.repeat(np.arange(len(pairs)), weights[0].astype(int))].reset_index(drop=True)
    rows = [np.asarray(each) for each in written.groupby(["dataset", "seed"]).indices.values()]
    untied = np.zeros((1, len(written)))
    plain = Searches(written, rows, np.ones((1, len(written))), untied, untied)
    for k, lost in weighted.regret_of_proxy((1, 2, 3, 5)).items():
        assert lost == pytest.approx(plain.regret_of_proxy((k,))[k])
        assert weighted.regret_of_random(k) == pytest.approx(plain.regret_of_random(k))
    assert weighted.regret_of_full() == pytest.approx(plain.regret_of_full())
    assert weighted.cost_of_proxy("examples_seen") == pytest.approx(plain.cost_of_proxy("examples_seen"))


def test_configurations_that_tie_are_ordered_at_random() -> None:
    rows = []
    for index in range(4):
        rows.append(training(TARGET, f"lr={index}", 0.5 + index / 10))
        rows.append(training(STRATEGY, f"lr={index}", 0.7))
    found = replayed(number_configurations(trainings_frame(rows)))
    assert found.judged_by == SAME_RUNS
    # Any of the four may come first, and they lose 30, 20, 10 and no points.
    assert only(found, PROXY, 1).regret.value == pytest.approx(15, abs=2.5)
    # Of two finalists the better one is taken: 0 in 3 of 6 cases, 10 in 2, 20 in 1.
    assert only(found, PROXY, 2).regret.value == pytest.approx(40 / 6, abs=2)


def test_the_choice_of_examples_is_charged_to_each_search() -> None:
    runs = study()
    of_proxy = runs["strategy"] == STRATEGY
    charged = runs.assign(selection_examples_seen=np.where(of_proxy, 2000.0, 0.0))
    # One full training sees 1,000 examples.
    assert only(replayed(charged), PROXY, 1).cost.value == pytest.approx(0.8 + 1 + 2)


def test_a_cost_that_is_not_known_leaves_cost_and_random_search_empty() -> None:
    policy = only(replayed(study().assign(train_flops=math.nan), basis="train_flops"), PROXY, 1)
    assert math.isnan(policy.cost.value)
    assert math.isnan(policy.random.value)
    assert policy.regret.value >= 0


def test_intervals_come_from_the_same_draws_as_full_search() -> None:
    found = replayed(study(n=12), samples=300)
    full, policy = only(found, FULL_SEARCH, 12), only(found, PROXY, 3)
    assert policy.regret.low <= policy.regret.value + 1e-9
    assert (policy.samples - full.samples).min() < 0 < policy.samples.max()
    assert policy.excess.low == pytest.approx(np.quantile(policy.samples - full.samples, 0.025))
    assert 0 <= policy.better_than_random <= 1
    assert list(found.table["policy"].unique()) == [FULL_SEARCH, RANDOM_SEARCH, PROXY]


def test_the_interval_of_one_finalist_is_stretched_and_that_of_more_is_that_of_the_samples() -> None:
    found = replayed(study(n=12), samples=300)
    full = only(found, FULL_SEARCH, 12)
    for k in (1, 2, 3):
        policy = only(found, PROXY, k)
        factor = STRETCH if k == 1 else 1
        for estimate, samples in ((policy.regret, policy.samples), (policy.excess, policy.samples - full.samples)):
            low, high = np.quantile(samples, [0.025, 0.975])
            assert low <= estimate.value < high
            assert estimate.high == pytest.approx(estimate.value + factor * (high - estimate.value))
        assert policy.regret.low >= 0
    one = only(found, RANDOM_SEARCH, 1)
    assert (one.regret.low, one.regret.high) == pytest.approx(tuple(np.quantile(one.samples, [0.025, 0.975])))


def test_a_perfect_proxy_loses_what_full_search_loses() -> None:
    runs = study()
    target = runs[runs["strategy"] == TARGET]
    copy = target.assign(strategy=STRATEGY)
    found = replayed(pd.concat([target, copy], ignore_index=True), samples=50)
    for k in (1, 2, 3):
        assert only(found, PROXY, k).excess.value == pytest.approx(0, abs=1e-9)
        assert only(found, PROXY, k).excess.high == pytest.approx(0, abs=1e-9)


def test_held_out_examples_judge_where_all_of_the_targets_runs_have_them() -> None:
    runs = study(seeds=(0,), datasets=("digits",))
    target = runs[runs["strategy"] == TARGET]
    truth, judged_by = true_values(target.assign(test_value=np.linspace(0.1, 0.8, 8)))
    assert judged_by == TEST
    assert truth["truth"].tolist() == np.linspace(0.1, 0.8, 8).tolist()
    _, judged_by = true_values(target.assign(test_value=[math.nan, *np.linspace(0.1, 0.8, 7)]))
    assert judged_by == SAME_RUNS
    runs = study(seeds=(0, 1), datasets=("digits",))
    target = runs[runs["strategy"] == TARGET].assign(test_value=np.linspace(0.1, 0.8, 16))
    truth, judged_by = true_values(target)
    assert judged_by == TEST_OF_OTHER_SEEDS
    other = target.set_index(["config", "seed"])["test_value"]
    for row in truth.itertuples():
        assert row.truth == pytest.approx(other[row.config, 1 - row.seed])


def test_a_configuration_without_another_seed_is_left_out_of_the_search() -> None:
    runs = study(n=12, seeds=(0, 1), datasets=("digits",))
    lost = (runs["config"] == "lr=2") & (runs["seed"] == 1)
    truth, judged_by = true_values(runs[(runs["strategy"] == TARGET) & ~lost])
    assert judged_by == OTHER_SEEDS
    assert "lr=2" not in set(truth["config"])
    assert replayed(runs[~lost]).n_configurations == 11


def test_a_second_seed_that_has_only_begun_judges_nothing() -> None:
    runs = study(n=12, seeds=(0, 1))
    begun = (runs["seed"] == 0) | runs["config"].isin(["lr=0", "lr=1", "lr=2"])
    found = replayed(runs[begun])
    assert found.judged_by == SAME_RUNS
    # All twelve configurations of the first seed, on both data sets, and nothing of the second.
    assert (found.n_configurations, found.fewest, found.n_searches) == (12, 12, 2)


def test_a_third_seed_that_has_only_begun_is_no_search() -> None:
    runs = study(n=12, seeds=(0, 1, 2))
    begun = (runs["seed"] < 2) | runs["config"].isin(["lr=0", "lr=1", "lr=2"])
    found = replayed(runs[begun])
    assert (found.judged_by, found.n_configurations, found.n_searches) == (OTHER_SEEDS, 12, 4)


@pytest.mark.parametrize(
    "lost",
    [
        lambda runs: runs["config"].isin([f"lr={i}" for i in range(8)]),
        lambda runs: runs["dataset"] == "letters",
        lambda runs: runs["seed"] == 2,
    ],
    ids=["configurations", "data set", "seed"],
)
def test_a_proxy_that_lacks_a_part_of_the_study_has_no_policies_and_is_named(lost: Callable) -> None:
    runs = study(n=12)
    # Another proxy has it all: a seed that no proxy has would only judge.
    whole = runs[runs["strategy"] == STRATEGY].assign(strategy="random:0.2")
    partial = pd.concat([runs[(runs["strategy"] == TARGET) | ~lost(runs)], whole])
    found = replayed(partial)
    assert found.left_out == (STRATEGY,)
    assert not [policy for policy in found.policies if policy.strategy == STRATEGY]
    assert replayed(runs).left_out == ()


def test_ties_on_the_proxy_and_on_the_target_are_broken_independently() -> None:
    """Of four that tie on both, two finalists, one of them taken: each is taken as often as any other."""
    rows = []
    for index in range(4):
        for seed, value in ((0, 0.7), (1, 0.5 + index / 10)):
            rows.append(training(TARGET, f"lr={index}", value, seed=seed))
            rows.append(training(STRATEGY, f"lr={index}", 0.7, seed=seed))
    runs = number_configurations(trainings_frame(rows))
    frame = make_pairs(runs, STRATEGY).frame.merge(true_values(runs[runs["strategy"] == TARGET])[0])
    first = frame[frame["seed"] == 0].reset_index(drop=True)
    rng = np.random.default_rng(0)
    ones = np.ones((20_000, 4))
    searches = Searches(first, [np.arange(4)], ones, rng.random(ones.shape), rng.random(ones.shape))
    lost = searches.regret_of_proxy((2,))[2]
    assert [float(np.mean(np.isclose(lost, each))) for each in (0, 0.1, 0.2, 0.3)] == pytest.approx(
        [0.25] * 4, abs=0.02
    )


def test_a_choice_whose_cost_is_not_known_is_marked() -> None:
    runs = study()
    assert not only(replayed(runs), PROXY, 1).choice_known
    assert only(replayed(runs.assign(selection_examples_seen=0.0)), PROXY, 1).choice_known


def test_a_study_without_a_target_has_no_policies() -> None:
    runs = study()
    assert replayed(runs[runs["strategy"] != TARGET]).policies == ()
    assert replayed(runs[runs["strategy"] != TARGET]).full is None
