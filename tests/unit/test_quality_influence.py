"""A measure that hangs on one configuration must be seen to do so, whichever way it would go without it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame
from scipy.stats import pearsonr, spearmanr

from proxyflow.quality.bootstrap import draw, number_configurations
from proxyflow.quality.comparisons import compare_strategies
from proxyflow.quality.influence import (
    HIGHER,
    INFLUENCE_COLUMNS,
    LEFT_OUT,
    LOWER,
    decisive_configurations,
    influence_table,
)
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.runs import TARGET
from proxyflow.quality.strategy_measures import measure

PROXY = "random:0.1"
N = 12


def study(outlier: float = 0.1, spoilt: float = 0.5) -> pd.DataFrame:
    """Values without relation but for one configuration that fails on both sides and one that fails on the proxy."""
    rows = []
    for dataset in ("digits", "letters"):
        rng = np.random.default_rng(len(dataset))
        target, proxy = 0.8 + 0.02 * rng.normal(size=(2, N))
        target[3] = proxy[3] = outlier
        proxy[7] = spoilt
        for strategy, values in ((TARGET, target), (PROXY, proxy)):
            rows += [training(strategy, f"lr={i:02}", float(v), dataset=dataset) for i, v in enumerate(values)]
    return number_configurations(trainings_frame(rows))


def influence(runs: pd.DataFrame, options: QualityOptions = QualityOptions()) -> pd.DataFrame:  # noqa: B008
    measured = {name: measure(make_pairs(runs, name), None, options) for name in (TARGET, PROXY)}
    return influence_table(measured, options, {})


def row_of(table: pd.DataFrame, measure: str, direction: str) -> pd.Series:
    return table[(table["measure"] == measure) & (table["direction"] == direction)].iloc[0]


def r2_without(runs: pd.DataFrame, config: str) -> float:
    frame = make_pairs(runs[runs["config"] != config], PROXY).frame
    found = [pearsonr(part["value_proxy"], part["value_target"]).statistic for _, part in frame.groupby("dataset")]
    # With its sign: a relation the wrong way round is lower than none.
    return float(np.mean(found) * abs(np.mean(found)))


def test_the_configuration_that_carries_r2_and_the_one_that_spoils_it_are_named_with_the_value_without() -> None:
    runs = study()
    table = influence(runs)
    assert list(table.columns) == INFLUENCE_COLUMNS
    carries, spoils = row_of(table, "r2", LOWER), row_of(table, "r2", HIGHER)
    assert (carries["config"], spoils["config"]) == ("lr=03", "lr=07")
    values = {config: r2_without(runs, config) for config in runs["config"].unique()}
    assert carries["without"] == pytest.approx(min(values.values()), abs=1e-9)
    assert spoils["without"] == pytest.approx(max(values.values()), abs=1e-9)
    assert carries["without"] < carries["value"] < spoils["without"]


def test_every_measure_but_costs_is_looked_at_and_the_target_is_not() -> None:
    table = influence(study())
    assert set(table["strategy"]) == {PROXY}
    assert {"r2", "spearman", "spearman_all", "kendall", "expected_regret"} <= set(table["measure"])
    assert not set(LEFT_OUT) & set(table["measure"])


def test_the_values_are_those_of_the_study_without_the_configuration() -> None:
    runs = study()
    row = row_of(influence(runs), "spearman_all", LOWER)
    rest = make_pairs(runs[runs["config"] != row["config"]], PROXY).frame
    found = [spearmanr(part["value_proxy"], part["value_target"]).statistic for _, part in rest.groupby("dataset")]
    assert row["without"] == pytest.approx(np.mean(found), abs=1e-9)


def test_weights_leave_out_one_configuration_each_on_every_data_set() -> None:
    pairs = make_pairs(study(), PROXY)
    frame, (configs, weights) = pairs.frame, pairs.without_each
    assert weights.shape == (N, 2 * N)
    for config, row in zip(configs, weights, strict=True):
        assert ((row == 0) == (frame["config"] == config)).all()


def test_without_a_pair_there_is_nothing_to_leave_out() -> None:
    runs = study()
    assert influence(runs[runs["strategy"] == TARGET]).empty


def test_a_decision_is_that_of_the_samples_that_lack_a_configuration() -> None:
    runs = study()
    draws = draw(runs, 600)
    at = {config: number for config, number in zip(runs["config"], runs["cluster"], strict=True)}
    # Whether configuration 5 is ever drawn.
    found = decisive_configurations(draws, runs, lambda used: bool((draws.counts[used, at["lr=05"]] > 0).any()))
    assert found == ["lr=05"]
    assert decisive_configurations(draws, runs, lambda used: "always") == []


def test_too_few_samples_without_a_configuration_decide_nothing() -> None:
    runs = study()
    draws = draw(runs, 40)
    assert decisive_configurations(draws, runs, lambda used: int(used.sum())) == []


def test_a_comparison_that_hangs_on_one_configuration_says_so() -> None:
    rows = []
    rng = np.random.default_rng(0)
    truth = 0.8 + 0.02 * rng.normal(size=16)
    # One proxy sees the configuration that fails, which is all that either knows.
    truth[2] = 0.2
    blind, seeing = 0.8 + 0.02 * rng.normal(size=(2, 16))
    seeing[2] = 0.2
    for strategy, values in ((TARGET, truth), ("easiest:0.1", seeing), ("random:0.1", blind)):
        cost = {"train_seconds": 100.0 if strategy == TARGET else 10.0}
        rows += [training(strategy, f"lr={i:02}", float(value), **cost) for i, value in enumerate(values)]
    runs = number_configurations(trainings_frame(rows))
    draws, options = draw(runs, 1000), QualityOptions()
    measured = {name: measure(make_pairs(runs, name), draws, options) for name in runs["strategy"].unique()}
    row = compare_strategies(measured, draws, options).set_index("measure").loc["r2"]
    assert (row["strategy"], row["other"]) == ("easiest:0.1", "random:0.1")
    assert row["difference"] > 0.5
    assert "lr=02" in row["depends_on"].split(" | ") or row["low"] <= 0
    without = compare_strategies(
        {name: measure(make_pairs(runs[runs["config"] != "lr=02"], name), draws, options) for name in measured},
        draws,
        options,
    ).set_index("measure")
    assert without.loc["r2", "difference"] < 0.3
