"""A proxy is judged by what the target has with itself, so a ceiling that is off moves every verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame
from scipy.stats import pearsonr, spearmanr

from proxyflow.quality.bootstrap import Draws, draw, number_configurations
from proxyflow.quality.ceiling import CEILING_COLUMNS, GAP_COLUMNS, ceiling_gaps
from proxyflow.quality.ceiling import noise_ceiling as whole_ceiling
from proxyflow.quality.measures import Good
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import MEASURED_ACROSS_SEEDS, across_seeds
from proxyflow.quality.strategy_measures import measure

ALL = Good(1.0)


def noise_ceiling(runs: pd.DataFrame, good: Good, draws: Draws | None) -> pd.DataFrame:
    return whole_ceiling(runs, draws, QualityOptions(good=good)).table


def targets(by_seed: dict[int, Sequence[float]], n_valid: int | None = None, **changes: Any) -> pd.DataFrame:
    """The target's runs: accuracies of the same configurations by seed."""
    rows = [
        training("full", f"lr={number:03}", accuracy, seed=seed, **changes)
        for seed, values in by_seed.items()
        for number, accuracy in enumerate(values)
    ]
    frame = number_configurations(trainings_frame(rows))
    return frame if n_valid is None else frame.assign(n_valid=pd.array([n_valid] * len(frame), dtype="Int64"))


def ceiling_of(table: pd.DataFrame, source: str, measure: str) -> dict[str, Any]:
    found = table[(table["source"] == source) & (table["measure"] == measure)]
    assert len(found) == 1
    return {str(key): value for key, value in found.iloc[0].items()}


FIRST, SECOND = [0.9, 0.8, 0.7, 0.85], [0.88, 0.81, 0.75, 0.7]


def test_two_seeds_give_the_agreement_of_the_one_with_the_other() -> None:
    table = noise_ceiling(targets({3: FIRST, 7: SECOND}), ALL, None)
    assert list(table.columns) == CEILING_COLUMNS
    assert list(table["source"].unique()) == ["seeds", "noise_free", "seed_means", "noise_free_means"]
    r2, rho = (ceiling_of(table, "seeds", name) for name in ("r2", "spearman"))
    assert r2["value"] == pytest.approx(pearsonr(FIRST, SECOND).statistic ** 2)
    # By hand: ranks 4 2 1 3 and 4 3 2 1, squared differences 0 1 1 4, so 1 - 6 * 6 / (4 * 15).
    assert rho["value"] == pytest.approx(0.4)
    assert np.isnan(r2["low"])
    assert np.isnan(r2["high"])


def test_three_seeds_give_each_against_every_other() -> None:
    third = [0.7, 0.9, 0.6, 0.8]
    table = noise_ceiling(targets({0: FIRST, 1: SECOND, 2: third}), ALL, None)
    sides = [(one, other) for one in (FIRST, SECOND, third) for other in (FIRST, SECOND, third) if one is not other]
    # The correlation of what is normalised within each two seeds is the mean of the correlations.
    expected = np.mean([pearsonr(*each).statistic for each in sides]) ** 2
    assert ceiling_of(table, "seeds", "r2")["value"] == pytest.approx(expected)
    assert ceiling_of(table, "seeds", "r2")["n"] == 24
    expected = np.mean([spearmanr(*each).statistic for each in sides])
    assert ceiling_of(table, "seeds", "spearman")["value"] == pytest.approx(expected)


def test_a_proxy_without_noise_explains_the_reliability_and_not_its_square() -> None:
    """Spearman 1904: a noisy measurement of a thing correlates with the thing by the root of its reliability."""
    table = noise_ceiling(targets({0: FIRST, 1: SECOND}), ALL, None)
    reliability = np.sqrt(ceiling_of(table, "seeds", "r2")["value"])
    assert ceiling_of(table, "noise_free", "r2")["value"] == pytest.approx(reliability)
    of_means = np.sqrt(ceiling_of(table, "seed_means", "r2")["value"])
    assert of_means == pytest.approx(2 * reliability / (1 + reliability))
    assert ceiling_of(table, "noise_free_means", "r2")["value"] == pytest.approx(of_means)


def test_the_good_are_those_of_the_first_seed_as_a_proxys_are_its_own() -> None:
    one, other = [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], [0.7, 0.9, 0.8, 0.6, 0.5, 0.95]
    table = noise_ceiling(targets({0: one, 1: other}), Good(0.5), None)
    forth = spearmanr(one[:3], other[:3]).statistic
    best = [5, 1, 2]
    back = spearmanr([other[i] for i in best], [one[i] for i in best]).statistic
    assert ceiling_of(table, "seeds", "spearman")["value"] == pytest.approx((forth + back) / 2)


def test_seeds_that_are_identical_give_1_with_an_interval_of_1() -> None:
    runs = targets({0: FIRST, 1: FIRST, 2: FIRST})
    table = noise_ceiling(runs, ALL, draw(runs, 100))
    for name in ("r2", "spearman"):
        row = ceiling_of(table, "seeds", name)
        assert (row["value"], row["low"], row["high"]) == pytest.approx((1, 1, 1))


def test_data_sets_are_normalised_apart() -> None:
    runs = number_configurations(
        pd.concat(
            [
                targets({0: FIRST, 1: SECOND}, dataset="digits"),
                targets({0: [0.1, 0.2, 0.3, 0.4], 1: [0.1, 0.2, 0.3, 0.4]}, dataset="letters"),
            ]
        ).drop(columns="cluster")
    )
    table = noise_ceiling(runs, ALL, None)
    expected = ((pearsonr(FIRST, SECOND).statistic + 1) / 2) ** 2
    assert ceiling_of(table, "seeds", "r2")["value"] == pytest.approx(expected)


def test_intervals_hold_the_value_and_draw_a_configuration_with_all_its_seeds() -> None:
    rng = np.random.default_rng(0)
    truth = 0.8 + 0.03 * rng.normal(size=20)
    runs = targets({seed: list(truth + 0.01 * rng.normal(size=20)) for seed in range(3)})
    draws = draw(runs, 300)
    row = ceiling_of(noise_ceiling(runs, ALL, draws), "seeds", "r2")
    assert row["low"] < row["value"] < row["high"] <= 1
    first = runs[runs["seed"] == 0].sort_values("config")
    sides = [runs[runs["seed"] == seed].sort_values("config")["objective"].to_numpy() for seed in range(3)]
    found = whole_ceiling(runs, draws, QualityOptions(good=ALL)).samples["seeds", "r2"]
    for counts, sample in zip(draws.of(first).astype(int), found, strict=True):
        drawn = [np.repeat(side, counts) for side in sides]
        correlation = np.mean([pearsonr(drawn[i], drawn[j]).statistic for i, j in ((0, 1), (1, 2), (2, 0))])
        assert sample == pytest.approx(correlation**2, abs=1e-9)


def test_only_configurations_of_both_seeds_are_compared() -> None:
    runs = targets({0: [*FIRST, 0.1], 1: SECOND})
    pairs = across_seeds(runs, TARGET).frame
    assert (len(pairs), set(pairs["config"])) == (8, {"lr=000", "lr=001", "lr=002", "lr=003"})
    row = ceiling_of(noise_ceiling(runs, ALL, None), "seeds", "spearman")
    assert row["value"] == pytest.approx(spearmanr(FIRST, SECOND).statistic)


def test_a_seed_that_has_only_begun_leaves_what_the_others_tell() -> None:
    runs = targets({0: FIRST, 1: SECOND, 2: FIRST[:2]})
    row = ceiling_of(noise_ceiling(runs, ALL, draw(runs, 100)), "seeds", "spearman")
    # Two configurations rank nothing, so what the third seed has is left out.
    assert row["value"] == pytest.approx(spearmanr(FIRST, SECOND).statistic)
    assert row["low"] <= row["value"] <= row["high"]
    assert row["n"] == 8


def test_one_seed_tells_the_noise_of_the_validation_images_only() -> None:
    table = noise_ceiling(targets({0: FIRST}, n_valid=500), ALL, None)
    assert set(table["source"]) == {"validation"}
    assert set(table["measure"]) == {"r2", "spearman"}
    assert (table["n"] == 4).all()


def test_without_seeds_and_numbers_of_images_nothing_is_told() -> None:
    for runs in (targets({0: FIRST}), targets({0: FIRST}).iloc[:0], targets({0: FIRST}).assign(n_valid=pd.NA)):
        table = noise_ceiling(runs, ALL, None)
        assert table.empty
        assert list(table.columns) == CEILING_COLUMNS


def test_two_runs_on_images_are_too_few_to_tell() -> None:
    assert noise_ceiling(targets({0: FIRST[:2]}, n_valid=500), ALL, None).empty


@pytest.mark.parametrize("n_valid", [0, 1])
def test_validation_sets_of_no_or_one_image_are_no_error(n_valid: int) -> None:
    table = noise_ceiling(targets({0: FIRST}, n_valid=n_valid), ALL, None)
    assert table["value"].between(-1, 1).all()


def test_accuracies_that_differ_by_noise_alone_have_a_ceiling_near_0() -> None:
    rng = np.random.default_rng(1)
    observed = rng.binomial(500, 0.85, size=60) / 500
    row = ceiling_of(noise_ceiling(targets({0: list(observed)}, n_valid=500), ALL, None), "validation", "r2")
    # Without any true difference r2 of 60 configurations is 1/59 on average; the observed spread may by chance be
    # a little larger than the noise.
    assert row["value"] < 0.1


def test_accuracies_that_are_all_the_same_have_a_ceiling_near_0() -> None:
    row = ceiling_of(noise_ceiling(targets({0: [0.85] * 60}, n_valid=500), ALL, None), "validation", "r2")
    assert row["value"] == pytest.approx(1 / 59, abs=0.01)


def test_the_ceiling_is_the_reliability_squared() -> None:
    """With true spread T and binomial noise N, two measurements correlate by T / (T + N); r2 is its square."""
    rng = np.random.default_rng(2)
    truth = rng.uniform(0.8, 0.88, size=1000)
    observed = rng.binomial(500, truth) / 500
    noise = np.mean(truth * (1 - truth) / 500)
    expected = (truth.var() / (truth.var() + noise)) ** 2
    row = ceiling_of(noise_ceiling(targets({0: list(observed)}, n_valid=500), ALL, None), "validation", "r2")
    assert row["value"] == pytest.approx(expected, abs=0.04)
    # The accuracies as they are, whose noise would count as true, would give clearly more.
    naive = (observed.var() / (observed.var() + noise)) ** 2
    assert naive > expected + 0.08
    assert row["low"] < row["value"] < row["high"]


def test_more_images_raise_the_ceiling() -> None:
    rng = np.random.default_rng(3)
    truth = list(rng.uniform(0.7, 0.9, size=36))
    values = [
        ceiling_of(noise_ceiling(targets({0: truth}, n_valid=n), ALL, None), "validation", "r2")["value"]
        for n in (100, 500, 2500, 100_000)
    ]
    assert values == sorted(values)
    assert values[-1] > 0.99


def test_the_ceiling_is_the_same_each_time_and_in_any_order_of_the_runs() -> None:
    runs = targets({0: FIRST, 1: SECOND}, n_valid=500)
    first, again = (noise_ceiling(runs, ALL, draw(runs, 50)) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_the_regret_of_another_seed_is_what_its_first_choice_loses() -> None:
    table = noise_ceiling(targets({0: [0.9, 0.8, 0.7], 1: [0.5, 0.85, 0.8]}), ALL, None)
    # By the second seed the first seed's choice is 35 points below its best; by the first the second's is 10 below.
    assert ceiling_of(table, "seeds", "expected_regret")["value"] == pytest.approx((35 + 10) / 2)


def test_a_proxy_is_below_the_ceiling_by_their_difference_on_the_same_draws() -> None:
    rng = np.random.default_rng(6)
    truth = 0.8 + 0.03 * rng.normal(size=20)
    rows = []
    for strategy, noise in ((TARGET, 0.005), ("random:0.5", 0.03)):
        for seed in range(2):
            values = truth + noise * rng.normal(size=20)
            rows += [training(strategy, f"lr={i:02}", float(value), seed=seed) for i, value in enumerate(values)]
    runs = number_configurations(trainings_frame(rows))
    draws, options = draw(runs, 200), QualityOptions()
    ceiling = whole_ceiling(runs[runs["strategy"] == TARGET], draws, options)
    across = {
        name: measure(across_seeds(runs, name), draws, options, MEASURED_ACROSS_SEEDS)
        for name in (TARGET, "random:0.5")
    }
    gaps = ceiling_gaps(ceiling, across, {})
    assert list(gaps.columns) == GAP_COLUMNS
    assert set(gaps["strategy"]) == {"random:0.5"}, "the target is the ceiling"
    row = gaps[gaps["measure"] == "r2_across_seeds"].iloc[0]
    assert row["ceiling"] == ceiling_of(ceiling.table, "seeds", "r2")["value"]
    assert row["difference"] == pytest.approx(row["value"] - row["ceiling"])
    value, samples = across["random:0.5"].signed("r2")
    assert value == row["value"]
    below = samples - ceiling.samples["seeds", "r2"]
    # Of a difference of r2 the interval is wider than percentiles (benchmarks/coverage.py), and on the same samples.
    assert row["low"] < np.quantile(below, 0.025) < row["difference"] < np.quantile(below, 0.975) < row["high"] < 0


def test_pairs_of_different_seeds_are_each_proxy_run_with_each_other_seed_of_the_target() -> None:
    rows = [
        training(strategy, config, value + seed / 100, seed=seed)
        for strategy, base in ((TARGET, 0.8), ("random:0.1", 0.5))
        for config, value in (("a", base), ("b", base + 0.05), ("c", base + 0.1))
        for seed in (0, 1, 2)
    ]
    frame = across_seeds(number_configurations(trainings_frame(rows)), "random:0.1").frame
    assert len(frame) == 3 * 3 * 2
    level = frame["config"].map({"a": 0.0, "b": 0.05, "c": 0.1})
    seeds = set(
        zip(
            (100 * (frame["value_proxy"] - 0.5 - level)).round().astype(int),
            (100 * (frame["value_target"] - 0.8 - level)).round().astype(int),
            strict=True,
        )
    )
    assert seeds == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}
    # Configurations under the same two seeds compete.
    assert (frame.groupby("seed")["config"].nunique() == 3).all()
    assert frame["seed"].nunique() == 6


def test_of_many_seeds_each_is_paired_with_the_next_three() -> None:
    runs = targets({seed: FIRST for seed in range(10, 20)})
    frame = across_seeds(runs, TARGET).frame
    assert frame["seed"].nunique() == 30
    assert len(frame) == 30 * 4
