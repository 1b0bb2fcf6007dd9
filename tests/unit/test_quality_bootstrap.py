"""An interval that is too narrow makes a proxy look proven; what is drawn, and together with what, is pinned here."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import noisy_study, training, trainings_frame
from scipy.stats import norm, t

from proxyflow.quality.bootstrap import (
    STRETCH,
    Draws,
    bias_corrected,
    centred,
    draw,
    effective_number,
    number_configurations,
    percentile,
    squared,
    stretched,
    stretched_correlation,
)
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.strategy_measures import measure

PROXY = "random:0.1"


def runs_of(
    configs: dict[str, int], seeds: Sequence[int] = (0,), strategies: Sequence[str] = ("full",)
) -> pd.DataFrame:
    """Numbered runs: data set to how many configurations it has."""
    return number_configurations(
        trainings_frame(
            [
                training(strategy, f"lr={number}", 0.5 + number / 1000, dataset=dataset, seed=seed)
                for dataset, count in configs.items()
                for strategy in strategies
                for seed in seeds
                for number in range(count)
            ]
        )
    )


def of_dataset(draws: Draws, runs: pd.DataFrame, dataset: str) -> np.ndarray:
    return draws.of(runs[runs["dataset"] == dataset].sort_values(["config", "seed"]))


def test_every_sample_has_as_many_configurations_as_the_study() -> None:
    runs = runs_of({"digits": 8, "letters": 8})
    draws = draw(runs, 300)
    counts = of_dataset(draws, runs, "digits")
    assert counts.shape == (300, 8)
    assert (counts.sum(axis=1) == 8).all()
    assert (counts == np.round(counts)).all()
    # Each is drawn once on average, as often as any other; the mean of 300 binomials strays by .06 at most.
    assert np.abs(counts.mean(axis=0) - 1).max() < 0.25
    # With replacement: the chance that one is left out is (1 - 1/n)^n.
    assert np.mean(counts == 0) == pytest.approx((1 - 1 / 8) ** 8, abs=0.03)


def test_all_seeds_and_strategies_of_a_configuration_are_drawn_together() -> None:
    runs = runs_of({"digits": 6}, seeds=(0, 1, 2), strategies=("full", PROXY))
    counts = pd.DataFrame(draw(runs, 50).of(runs).T)
    assert (counts.groupby(runs["config"].to_numpy()).nunique() == 1).all(axis=None)
    assert counts.groupby(runs["config"].to_numpy()).first().sum(axis=0).eq(6).all()


def test_a_draw_is_used_on_every_data_set_that_has_the_configuration() -> None:
    runs = runs_of({"digits": 5, "letters": 8})
    draws = draw(runs, 50)
    digits, letters = (of_dataset(draws, runs, name) for name in ("digits", "letters"))
    # The five configurations of digits are the first five of letters.
    assert np.array_equal(digits, letters[:, :5])
    assert (letters.sum(axis=1) == 8).all()


def test_residuals_that_two_data_sets_share_are_counted_once() -> None:
    """A second data set that repeats the first says nothing new, so it narrows no interval."""
    rows = [row for row in noisy_study({PROXY: (0.1, 0.05)}) if row["dataset"] == "digits"]
    found = []
    for datasets in (("digits",), ("digits", "letters")):
        copies = [{**row, "dataset": dataset} for row in rows for dataset in datasets]
        runs = number_configurations(trainings_frame(copies))
        found.append(measure(make_pairs(runs, PROXY), draw(runs, 300), QualityOptions(), MEASURES).estimates)
    for name in MEASURES:
        one, two = found[0][name], found[1][name]
        assert (two.value, two.low, two.high) == pytest.approx((one.value, one.low, one.high), abs=1e-9), name


def test_the_draws_depend_neither_on_data_sets_nor_on_strategies_nor_on_seeds() -> None:
    alone = runs_of({"letters": 7})
    expected = of_dataset(draw(alone, 40), alone, "letters")
    more = runs_of({"digits": 5, "letters": 7, "woof": 7}, strategies=("full", PROXY, "easiest:0.1"))
    target = more[more["strategy"] == "full"]
    assert np.array_equal(of_dataset(draw(more, 40), target, "letters"), expected)
    seeds = runs_of({"letters": 7}, seeds=(0, 1))
    assert np.array_equal(of_dataset(draw(seeds, 40), seeds[seeds["seed"] == 1], "letters"), expected)


def test_the_draws_do_not_depend_on_the_order_of_the_runs_and_the_first_samples_not_on_their_number() -> None:
    runs = runs_of({"digits": 5, "letters": 8})
    shuffled = runs.sample(frac=1, random_state=3)
    assert np.array_equal(draw(runs, 30).counts, draw(shuffled, 30).counts)
    assert np.array_equal(draw(runs, 30).first(10).counts, draw(runs, 30).counts[:10])


def test_a_configuration_that_the_target_lacks_is_never_drawn() -> None:
    runs = runs_of({"digits": 4}, strategies=("full", PROXY))
    runs = runs[~((runs["strategy"] == "full") & (runs["config"] == "lr=2"))]
    counts = draw(runs, 100).of(runs)
    assert (counts[:, (runs["config"] == "lr=2").to_numpy()] == 0).all()
    assert (counts[:, (runs["strategy"] == "full").to_numpy()].sum(axis=1) == 3).all()


MEASURES = ("r2", "spearman", "kendall", "regret", "expected_regret", "relative_cost")


def test_seeds_that_repeat_the_same_values_narrow_no_interval() -> None:
    rows = noisy_study({PROXY: (0.1, 0.05)})
    found = []
    for seeds in ((0,), (0, 1), (0, 1, 2, 3)):
        runs = number_configurations(
            trainings_frame([{**row, "seed": seed, "run_id": ""} for row in rows for seed in seeds])
        )
        pairs = make_pairs(runs, PROXY)
        assert len(pairs.frame) == 32 * len(seeds)
        # Spearman of the best half: of twice the pairs twice as many are good, so the measure is the same.
        found.append(measure(pairs, draw(runs, 300), QualityOptions(), MEASURES).estimates)
    for more in found[1:]:
        for name in MEASURES:
            one, several = found[0][name], more[name]
            assert (several.value, several.low, several.high) == pytest.approx((one.value, one.low, one.high), abs=1e-9)
            assert one.low < one.high or name == "relative_cost"


def test_a_second_seed_that_says_something_new_narrows_the_interval() -> None:
    """The clustering does not throw evidence away: noise that differs between seeds averages out."""
    rng = np.random.default_rng(0)
    quality = rng.normal(size=24)
    widths = []
    noise = rng.normal(size=(8, 2, 24))
    for count in (1, 8):
        rows = [
            training(strategy, f"lr={number}", 0.8 + 0.02 * (quality[number] + noise[seed, side, number]), seed=seed)
            for seed in range(count)
            for side, strategy in enumerate(("full", PROXY))
            for number in range(24)
        ]
        runs = number_configurations(trainings_frame(rows))
        estimate = measure(make_pairs(runs, PROXY), draw(runs, 400), QualityOptions(), ("r2",)).estimates["r2"]
        widths.append(estimate.high - estimate.low)
    assert widths[1] < 0.8 * widths[0]


def test_the_interval_is_that_of_the_middle_95_percent() -> None:
    low, high = percentile(np.arange(101.0))
    assert (low, high) == pytest.approx((2.5, 97.5))


def test_samples_that_are_undefined_are_left_out_of_the_interval() -> None:
    samples = np.concatenate([np.full(500, np.nan), np.arange(101.0)])
    assert percentile(samples) == pytest.approx((2.5, 97.5))
    assert bias_corrected(samples, 50.0) == pytest.approx((2.5, 97.5))
    nothing = np.full(5, np.nan)
    for ends in (percentile(nothing), percentile(nothing[:0]), bias_corrected(nothing, 1.0)):
        assert all(math.isnan(end) for end in ends)


def test_where_half_of_the_samples_lie_below_the_value_nothing_is_corrected() -> None:
    samples = np.random.default_rng(0).normal(size=1000)
    assert bias_corrected(samples, float(np.median(samples))) == pytest.approx(percentile(samples), abs=1e-9)
    # Those that are equal to the value count half: a value that every sample repeats is not biased.
    assert bias_corrected(np.ones(100), 1.0) == (1.0, 1.0)


def test_samples_that_differ_from_the_value_by_rounding_alone_are_equal_to_it() -> None:
    for almost in (np.nextafter(0.8, 0), np.nextafter(0.8, 1)):
        samples = np.array([0.5] * 20 + [almost] * 60 + [0.9] * 20)
        assert bias_corrected(samples, 0.8) == pytest.approx((0.5, 0.9))


def test_the_correction_is_twice_the_bias_in_standard_errors() -> None:
    samples = np.arange(1000.0)
    value = 799.5  # 800 of 1,000 samples lie below
    bias = norm.ppf(0.8)
    expected = np.quantile(samples, norm.cdf([2 * bias - 1.959964, 2 * bias + 1.959964]))
    assert bias_corrected(samples, value) == pytest.approx(expected, abs=1e-3)
    assert bias_corrected(samples, value)[0] > percentile(samples)[0]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("value", [-1.0, 2.0])
def test_a_value_beyond_all_samples_gives_ends_that_are_samples(count: int, value: float) -> None:
    samples = np.linspace(0, 1, count)
    low, high = bias_corrected(samples, value)
    assert 0 <= low <= high <= 1


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=60),
    st.floats(-1, 1),
)
def test_the_ends_are_in_order_and_within_the_samples(values: list[float], value: float) -> None:
    samples = np.array(values)
    for low, high in (percentile(samples), bias_corrected(samples, value)):
        assert samples.min() - 1e-12 <= low <= high <= samples.max() + 1e-12


@pytest.mark.parametrize(
    ("root", "square"),
    [
        ((0.2, 0.5), (0.04, 0.25)),
        ((-0.5, -0.2), (0.04, 0.25)),
        ((-0.1, 0.5), (0.0, 0.25)),
        ((-0.5, 0.1), (0.0, 0.25)),
        ((0.0, 0.5), (0.0, 0.25)),
        ((-0.5, 0.0), (0.0, 0.25)),
        ((0.3, 0.3), (0.09, 0.09)),
    ],
)
def test_the_interval_of_a_square_holds_every_square(root: tuple[float, float], square: tuple[float, float]) -> None:
    assert squared(*root) == pytest.approx(square)


def test_the_interval_of_the_square_of_what_is_undefined_is_undefined() -> None:
    assert all(math.isnan(end) for end in squared(math.nan, math.nan))


def test_stretched_ends_are_further_from_the_value_than_percentiles_by_the_factor() -> None:
    samples = np.random.default_rng(0).gamma(2, size=1000)
    low, high = percentile(samples)
    assert stretched(samples, 2.0) == pytest.approx((2 - STRETCH * (2 - low), 2 + STRETCH * (high - 2)))


@pytest.mark.parametrize(
    ("without", "number"),
    [([0.0] * 9 + [1.0], 1.233), ([0.0, 1.0] * 5, 10), ([0.5] * 7, 7), ([0.1, math.nan, 0.3], 2), ([math.nan] * 4, 4)],
)
def test_the_effective_number_is_that_of_the_configurations_that_the_value_depends_on(
    without: list[float], number: float
) -> None:
    assert effective_number(np.array(without)) == pytest.approx(number, abs=1e-3)


def test_a_correlation_that_few_configurations_decide_has_a_wider_interval() -> None:
    samples = np.tanh(np.random.default_rng(0).normal(0.8, 0.2, 1000))
    value = math.tanh(0.9)
    low, high = np.arctanh(np.quantile(samples, [0.025, 0.975]))
    for z, number in ((np.array([0.88, 0.92] * 20), 40), (np.array([0.9] * 39 + [0.5]), 1.0519)):
        factor = t.ppf(0.975, number + 1) / norm.ppf(0.975)
        expected = np.tanh([0.9 - factor * (0.9 - low), 0.9 + factor * (high - 0.9)])
        assert stretched_correlation(samples, value, np.tanh(z)) == pytest.approx(expected, abs=1e-3)
    expected = np.tanh([0.9 - STRETCH * (0.9 - low), 0.9 + STRETCH * (high - 0.9)])
    assert stretched_correlation(samples, value) == pytest.approx(expected)
    # Student's t of many degrees of freedom is the normal: nothing is stretched.
    many = stretched_correlation(samples, value, np.tanh([0.88, 0.92] * 20_000))
    assert many == pytest.approx(percentile(samples), abs=1e-4)


CORRELATIONS = st.lists(st.floats(-1, 1), min_size=1, max_size=60)


@given(CORRELATIONS, st.floats(-1, 1), CORRELATIONS)
def test_stretched_intervals_hold_the_value_and_the_percentiles_and_stay_in_their_range(
    values: list[float], value: float, without: list[float]
) -> None:
    samples = np.array(values)
    low, high = percentile(samples)
    for ends in (stretched(samples, value, lowest=-1.0), stretched_correlation(samples, value, np.array(without))):
        assert -1 <= ends[0] <= min(value, low) + 1e-5
        assert ends[1] >= max(value, high) - 1e-5
    assert stretched_correlation(samples, value, np.array(without))[1] <= 1


def test_a_perfect_correlation_stays_perfect_and_what_is_undefined_undefined() -> None:
    assert stretched_correlation(np.ones(50), 1.0, np.ones(9)) == (1.0, 1.0)
    assert stretched_correlation(-np.ones(50), -1.0, -np.ones(9)) == (-1.0, -1.0)
    assert stretched(np.zeros(50), 0.0, lowest=0.0) == (0.0, 0.0)
    undefined = np.full(3, np.nan)
    for ends in (stretched(undefined, 0.5), stretched_correlation(undefined, 0.5, undefined)):
        assert all(math.isnan(end) for end in ends)


def test_centred_is_as_wide_as_the_samples_are_in_z_and_holds_a_value_that_they_lie_below() -> None:
    z = np.random.default_rng(0).normal(0.8, 0.15, 500)
    value = math.tanh(1.2)
    assert percentile(np.tanh(z))[1] < value
    low, high = centred(np.tanh(z), value)
    assert math.atanh(low) == pytest.approx(1.2 - 1.959964 * np.std(z, ddof=1), abs=1e-6)
    assert math.atanh(high) == pytest.approx(1.2 + 1.959964 * np.std(z, ddof=1), abs=1e-6)


def test_centred_of_nothing_and_of_one_is_no_error() -> None:
    assert all(math.isnan(end) for end in centred(np.full(3, np.nan), 0.5))
    assert centred(np.ones(10), 1.0) == pytest.approx((1, 1), abs=1e-5)
