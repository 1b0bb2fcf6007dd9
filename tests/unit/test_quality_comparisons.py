"""Which of two proxies is better is asked on the same configurations and samples, or luck decides it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, trainings_frame

from proxyflow.quality.bootstrap import STRETCH, Draws, draw, number_configurations
from proxyflow.quality.comparisons import COMPARISON_COLUMNS, compare_strategies
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.strategy_measures import StrategyMeasures, measure

OPTIONS = QualityOptions()
TWO = {"random:0.1": (0.1, 0.04), "easiest:0.1": (0.12, 0.06)}


def measured_of(
    rows: list[dict[str, Any]] | pd.DataFrame, samples: int = 300
) -> tuple[dict[str, StrategyMeasures], Draws]:
    runs = number_configurations(rows if isinstance(rows, pd.DataFrame) else trainings_frame(rows))
    draws = draw(runs, samples)
    return {name: measure(make_pairs(runs, name), draws, OPTIONS) for name in sorted(runs["strategy"].unique())}, draws


def compared(rows: list[dict[str, Any]] | pd.DataFrame, samples: int = 300) -> pd.DataFrame:
    measured, draws = measured_of(rows, samples)
    return compare_strategies(measured, draws, OPTIONS)


def test_pairs_of_like_cost_are_compared_and_others_not() -> None:
    costs = {"a": 0.1, "b": 0.135, "c": 0.1351, "d": 0.5, "e": 0.66}
    table = compared(noisy_study({name: (cost, 0.05) for name, cost in costs.items()}))
    assert list(table.columns) == COMPARISON_COLUMNS
    pairs = {frozenset(pair) for pair in zip(table["strategy"], table["other"], strict=True)}
    # 0.135 / 0.1 is 1.35; 0.1351 / 0.1 is more; 0.66 / 0.5 is 1.32. The target is compared with nothing.
    assert pairs == {frozenset("ab"), frozenset("bc"), frozenset("de")}
    assert set(table["measure"]) == {"r2", "spearman", "kendall"}
    assert len(table) == 9


@pytest.mark.parametrize("name", ["r2", "spearman", "kendall"])
def test_difference_interval_and_probability_are_those_of_the_same_samples(name: str) -> None:
    measured, draws = measured_of(noisy_study(TWO))
    row = compare_strategies(measured, draws, OPTIONS).set_index("measure").loc[name]
    better, worse = measured[row["strategy"]], measured[row["other"]]
    assert {row["strategy"], row["other"]} == set(TWO)
    left, right = (side.samples[name] ** (2 if name == "r2" else 1) for side in (better, worse))
    difference = (left - right)[np.isfinite(left - right)]
    assert row["difference"] == pytest.approx(better.estimates[name].value - worse.estimates[name].value)
    assert row["difference"] >= 0
    ends = np.quantile(difference, [0.025, 0.975])
    if name == "r2":
        # Percentiles of differences of r2 are too narrow.
        ends = row["difference"] + STRETCH * (ends - row["difference"])
    assert (row["low"], row["high"]) == pytest.approx(tuple(ends))
    ahead = (difference > 0).sum() + (difference == 0).sum() / 2
    assert row["probability"] == pytest.approx(ahead / len(difference))
    assert row["n_pairs"] == 32
    costs = {name: cost for name, (cost, _) in TWO.items()}
    assert row["relative_cost"] == pytest.approx(costs[row["strategy"]])
    assert row["other_relative_cost"] == pytest.approx(costs[row["other"]])


def test_samples_in_common_decide_more_than_two_intervals_side_by_side() -> None:
    rows = noisy_study({"random:0.1": (0.1, 0.04)})
    # Half as good again is the same noise, half as large: on every sample it is ahead.
    target = {(row["dataset"], row["config"]): row["objective"] for row in rows if row["strategy"] == "full"}
    rows += [
        {
            **row,
            "strategy": "easiest:0.1",
            "run_id": "",
            "objective": (row["objective"] + target[row["dataset"], row["config"]]) / 2,
        }
        for row in rows
        if row["strategy"] == "random:0.1"
    ]
    measured, draws = measured_of(rows)
    row = compare_strategies(measured, draws, OPTIONS).set_index("measure").loc["r2"]
    one, other = (measured[name].estimates["r2"] for name in ("easiest:0.1", "random:0.1"))
    assert one.low < other.high, "the two intervals overlap"
    assert row["strategy"] == "easiest:0.1"
    assert row["low"] > 0
    assert row["probability"] > 0.99


def test_strategies_that_miss_different_pairs_are_compared_on_those_that_both_have() -> None:
    frame = trainings_frame(noisy_study(TWO))
    lacking = frame[
        ~((frame["strategy"] == "random:0.1") & frame["config"].isin(["lr=1", "lr=2"]))
        & ~((frame["strategy"] == "easiest:0.1") & frame["config"].isin(["lr=2", "lr=5", "lr=9"]))
    ]
    table = compared(lacking)
    assert (table["n_pairs"] == 2 * (16 - 4)).all()
    # The same study with these pairs gone on both sides has the same values; the target keeps all, so that the same
    # configurations are drawn.
    common = frame[(frame["strategy"] == "full") | ~frame["config"].isin(["lr=1", "lr=2", "lr=5", "lr=9"])]
    expected = compared(common)
    pd.testing.assert_frame_equal(table, expected)


def test_strategies_without_a_common_pair_are_not_compared() -> None:
    frame = trainings_frame(noisy_study(TWO))
    first = frame["config"].isin([f"lr={number}" for number in range(8)])
    apart = frame[
        (frame["strategy"] == "full")
        | ((frame["strategy"] == "random:0.1") & first)
        | ((frame["strategy"] == "easiest:0.1") & ~first)
    ]
    assert compared(apart).empty


def test_what_cannot_be_told_is_not_compared() -> None:
    frame = trainings_frame(noisy_study(TWO))
    proxy = frame["strategy"] == "random:0.1"
    assert compared(frame.assign(train_seconds=frame["train_seconds"].mask(proxy, np.nan))).empty
    assert compared(frame.assign(train_seconds=frame["train_seconds"].mask(proxy, 0.0))).empty
    assert compared(frame.assign(value=frame["value"].mask(proxy, 0.5))).empty
    measured, _ = measured_of(frame)
    nothing = compare_strategies(measured, None, OPTIONS)
    assert nothing.empty
    assert list(nothing.columns) == COMPARISON_COLUMNS


def test_the_cheapest_come_first_within_each_measure() -> None:
    table = compared(
        noisy_study({name: (cost, 0.05) for name, cost in {"a": 0.5, "b": 0.6, "c": 0.1, "d": 0.11}.items()})
    )
    assert list(table["measure"]) == ["kendall"] * 2 + ["r2"] * 2 + ["spearman"] * 2
    for _, part in table.groupby("measure"):
        assert part["relative_cost"].is_monotonic_increasing
