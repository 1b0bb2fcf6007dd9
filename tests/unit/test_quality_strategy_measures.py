"""Every measure is one entry of a registry; value, interval and samples must be of the same thing."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, study_rows, training, trainings_frame
from scipy.stats import kendalltau, pearsonr, spearmanr, zscore

from proxyflow.quality.bootstrap import Draws, draw, number_configurations, percentile, stretched_correlation
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs, make_pairs
from proxyflow.quality.strategy_measures import (
    MEASURE_COLUMNS,
    MEASURES,
    StrategyMeasures,
    measure,
    measure_rows,
    relative_cost,
)

PROXY = "random:0.1"


def study(n: int = 16, noise: float = 0.05, seed: int = 0) -> tuple[Pairs, Draws]:
    runs = number_configurations(trainings_frame(noisy_study({PROXY: (0.1, noise)}, n=n, seed=seed)))
    return make_pairs(runs, PROXY), draw(runs, 400)


def test_the_measures_are_those_that_the_report_promises() -> None:
    assert list(MEASURES) == [
        "r2",
        "spearman",
        "spearman_all",
        "kendall",
        "top5_overlap",
        "regret",
        "expected_regret",
        "best_recovered",
        "relative_cost",
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.005, 0.05, 0.5])
def test_intervals_hold_the_value(noise: float, seed: int) -> None:
    pairs, draws = study(noise=noise, seed=seed)
    found = measure(pairs, draws, QualityOptions())
    assert list(found.estimates) == list(MEASURES)
    for name in ("r2", "spearman", "kendall", "top5_overlap", "relative_cost"):
        estimate = found.estimates[name]
        assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9, name


def test_values_are_those_of_scipy_and_each_sample_that_of_the_pairs_written_down_so_often() -> None:
    pairs, draws = study()
    found = measure(pairs, draws, QualityOptions(), ("r2", "kendall"))
    for number in (None, 0, 17, 399):
        counts = np.ones(len(pairs.frame)) if number is None else draws.of(pairs.frame)[number]
        frame = pairs.frame.loc[pairs.frame.index.repeat(counts.astype(int))]
        z = [
            np.concatenate([zscore(group[f"value_{side}"]) for _, group in frame.groupby("dataset")])
            for side in ("proxy", "target")
        ]
        r = pearsonr(*z).statistic
        if number is None:
            assert found.estimates["r2"].value == pytest.approx(r**2, abs=1e-9)
        else:
            # The sign is kept in the samples; the table has the square.
            assert found.samples["r2"][number] == pytest.approx(r, abs=1e-9)
    one = pairs.where((pairs.frame["dataset"] == "digits").to_numpy())
    tau = measure(one, None, QualityOptions(), ("kendall",)).estimates["kendall"].value
    assert tau == pytest.approx(kendalltau(one.frame["value_proxy"], one.frame["value_target"]).statistic)


def test_the_interval_of_r2_is_that_of_the_correlation_squared() -> None:
    pairs, draws = study(noise=0.5)
    found = measure(pairs, draws, QualityOptions(), ("r2",))
    formula = partial(MEASURES["r2"].formula, pairs)
    correlation = float(formula(np.ones((1, len(pairs.frame))), QualityOptions())[0])
    configs = pairs.frame["config"].to_numpy()
    without = [float(formula((configs != name)[None].astype(float), QualityOptions())[0]) for name in set(configs)]
    low, high = stretched_correlation(found.samples["r2"], correlation, np.array(without))
    assert low < 0 < high, "a noisy proxy whose sign is not known"
    estimate = found.estimates["r2"]
    assert (estimate.low, estimate.high) == pytest.approx((0, max(low**2, high**2)))


@pytest.mark.parametrize("name", ["r2", "regret", "expected_regret"])
def test_what_one_configuration_can_decide_has_a_wider_interval_than_percentiles(name: str) -> None:
    pairs, draws = study()
    found = measure(pairs, draws, QualityOptions(), (name,))
    low, high = percentile(MEASURES[name].value(found.samples[name]))
    estimate = found.estimates[name]
    assert estimate.high > high > estimate.value
    assert 0 <= estimate.low <= low


def test_the_best_half_is_chosen_anew_in_each_sample() -> None:
    pairs, draws = study()
    one = pairs.where((pairs.frame["dataset"] == "digits").to_numpy())
    found = measure(one, draws, QualityOptions(), ("spearman",))
    for number in (0, 5, 99):
        frame = one.frame.loc[one.frame.index.repeat(draws.of(one.frame)[number].astype(int))]
        kept = frame["value_proxy"].sort_values(ascending=False).iloc[len(frame) // 2 - 1]
        good = frame[frame["value_proxy"] >= kept]
        expected = spearmanr(good["value_proxy"], good["value_target"]).statistic
        assert found.samples["spearman"][number] == pytest.approx(expected, abs=1e-9)


def test_relative_cost_is_the_sum_over_the_sum_and_unknown_where_one_cost_is() -> None:
    rows = study_rows({"full": [0.9, 0.8, 0.7], PROXY: [0.5, 0.4, 0.3]})
    for row, seconds in zip(rows, [100, 200, 700, 10, 40, 50], strict=True):
        row["train_seconds"] = seconds
    pairs = make_pairs(trainings_frame(rows), PROXY)
    weights = np.array([[1.0, 1, 1], [3, 0, 0], [0, 1, 2]])
    assert relative_cost(pairs, weights, "train_seconds") == pytest.approx([0.1, 0.1, 140 / 1600])
    assert math.isnan(relative_cost(pairs, np.zeros((1, 3)), "train_seconds")[0])
    rows[4]["train_seconds"] = np.nan
    assert np.isnan(relative_cost(make_pairs(trainings_frame(rows), PROXY), weights, "train_seconds")).all()


def test_a_target_that_cost_nothing_gives_no_relative_cost() -> None:
    rows = study_rows({"full": [0.9, 0.8, 0.7], PROXY: [0.5, 0.4, 0.3]}, train_seconds=0.0)
    assert math.isnan(relative_cost(make_pairs(trainings_frame(rows), PROXY), np.ones((1, 3)), "train_seconds")[0])


def test_without_a_bootstrap_there_are_values_and_neither_ends_nor_samples() -> None:
    pairs, _ = study()
    found = measure(pairs, None, QualityOptions())
    assert found.samples == {}
    for estimate in found.estimates.values():
        assert np.isfinite(estimate.value)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)


def test_no_pairs_give_no_values() -> None:
    runs = number_configurations(
        trainings_frame([*study_rows({"full": [0.9, 0.8]}), training(PROXY, "elsewhere", 0.3)])
    )
    found = measure(make_pairs(runs, PROXY), draw(runs, 10), QualityOptions())
    assert all(math.isnan(each.value) for each in found.estimates.values())
    assert found.samples == {}


def test_the_share_of_undefined_samples_is_told() -> None:
    # Of four configurations three tie on the proxy: a sample without the fourth, 81 of 256, ranks nothing.
    runs = number_configurations(
        trainings_frame(study_rows({"full": [0.9, 0.8, 0.7, 0.6], PROXY: [0.5, 0.5, 0.5, 0.4]}))
    )
    found: StrategyMeasures = measure(make_pairs(runs, PROXY), draw(runs, 2000), QualityOptions(), ("r2",))
    # The target's accuracies differ, but the four draws may be of one configuration as well: that is among the 81.
    assert found.estimates["r2"].undefined == pytest.approx((81 + 1) / 256, abs=0.03)


def test_estimates_become_a_row_each() -> None:
    pairs, draws = study()
    estimates = measure(pairs, draws, QualityOptions(), ("r2", "relative_cost")).estimates
    table = measure_rows(PROXY, estimates, 32)
    assert list(table.columns) == MEASURE_COLUMNS
    expected = [
        [PROXY, name, estimates[name].value, estimates[name].low, estimates[name].high, 32]
        for name in ("r2", "relative_cost")
    ]
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected, columns=MEASURE_COLUMNS))
