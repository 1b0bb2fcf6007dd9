"""A proxy is judged by what the target has with itself, so a ceiling that is off moves every verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame
from scipy.stats import pearsonr, spearmanr

from proxyflow.quality.bootstrap import draw, numbered
from proxyflow.quality.ceiling import CEILING_COLUMNS, noise_ceiling, other_seed_pairs
from proxyflow.quality.measures import Good

ALL = Good(1.0)


def targets(by_seed: dict[int, Sequence[float]], n_valid: int | None = None, **changes: Any) -> pd.DataFrame:
    """The target's runs: accuracies of the same configurations by seed."""
    rows = [
        training("full", f"lr={number:03}", accuracy, seed=seed, **changes)
        for seed, values in by_seed.items()
        for number, accuracy in enumerate(values)
    ]
    frame = numbered(trainings_frame(rows))
    return frame if n_valid is None else frame.assign(n_valid=pd.array([n_valid] * len(frame), dtype="Int64"))


def ceiling_of(table: pd.DataFrame, source: str, measure: str) -> dict[str, Any]:
    found = table[(table["source"] == source) & (table["measure"] == measure)]
    assert len(found) == 1
    return {str(key): value for key, value in found.iloc[0].items()}


FIRST, SECOND = [0.9, 0.8, 0.7, 0.85], [0.88, 0.81, 0.75, 0.7]


def test_two_seeds_give_the_agreement_of_the_one_with_the_other() -> None:
    table = noise_ceiling(targets({3: FIRST, 7: SECOND}), ALL, None)
    assert list(table.columns) == CEILING_COLUMNS
    assert set(table["source"]) == {"seeds", "seed_means"}
    r2, rho = (ceiling_of(table, "seeds", name) for name in ("r2", "spearman"))
    assert r2["value"] == pytest.approx(pearsonr(FIRST, SECOND).statistic ** 2)
    # By hand: ranks 4 2 1 3 and 4 3 2 1, squared differences 0 1 1 4, so 1 - 6 * 6 / (4 * 15).
    assert rho["value"] == pytest.approx(0.4)
    assert np.isnan(r2["low"])
    assert np.isnan(r2["high"])


def test_three_seeds_give_the_mean_over_each_and_the_next() -> None:
    third = [0.7, 0.9, 0.6, 0.8]
    table = noise_ceiling(targets({0: FIRST, 1: SECOND, 2: third}), ALL, None)
    sides = [(FIRST, SECOND), (SECOND, third), (third, FIRST)]
    expected = np.mean([pearsonr(*each).statistic ** 2 for each in sides])
    assert ceiling_of(table, "seeds", "r2")["value"] == pytest.approx(expected)
    assert ceiling_of(table, "seeds", "r2")["n"] == 12
    expected = np.mean([spearmanr(*each).statistic for each in sides])
    assert ceiling_of(table, "seeds", "spearman")["value"] == pytest.approx(expected)


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
    runs = numbered(
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
    sides = [runs[runs["seed"] == seed].sort_values("config")["best_valid_accuracy"].to_numpy() for seed in range(3)]
    samples = []
    for counts in draws.of(first).astype(int):
        drawn = [np.repeat(side, counts) for side in sides]
        samples.append(np.mean([pearsonr(drawn[i], drawn[(i + 1) % 3]).statistic ** 2 for i in range(3)]))
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])), abs=1e-9)


def test_only_configurations_of_both_seeds_are_compared() -> None:
    runs = targets({0: [*FIRST, 0.1], 1: SECOND})
    assert [len(each.frame) for each in other_seed_pairs(runs)] == [4, 4]
    row = ceiling_of(noise_ceiling(runs, ALL, None), "seeds", "r2")
    assert row["value"] == pytest.approx(pearsonr(FIRST, SECOND).statistic ** 2)


def test_a_seed_that_has_only_begun_leaves_what_the_others_tell() -> None:
    runs = targets({0: FIRST, 1: SECOND, 2: FIRST[:2]})
    row = ceiling_of(noise_ceiling(runs, ALL, draw(runs, 100)), "seeds", "r2")
    assert row["value"] == pytest.approx(pearsonr(FIRST, SECOND).statistic ** 2)
    assert row["low"] <= row["value"] <= row["high"]
    assert row["n"] == 4


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
