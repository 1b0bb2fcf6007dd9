"""A difference that hangs on one data set, or on one configuration, must be seen to do so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.bootstrap import draw, number_configurations
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.robustness import ROBUSTNESS_COLUMNS, robustness_table
from proxyflow.quality.strategy_measures import measure

GOOD, POOR = "easiest:0.1", "random:0.1"


def study(seeds: int = 1, n: int = 20) -> list[dict[str, Any]]:
    """Of two proxies one is better on clothes alone; on digits all that either tells is which configuration fails."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for dataset in ("clothes", "digits"):
            truth = 0.8 + 0.02 * rng.normal(size=n)
            told = {"full": truth, GOOD: truth + 0.002 * rng.normal(size=n), POOR: 0.8 + 0.02 * rng.normal(size=n)}
            if dataset == "digits":
                told[GOOD] = 0.8 + 0.02 * rng.normal(size=n)
                for values in told.values():
                    values[7] = 0.1
            for strategy, values in told.items():
                cost = {"train_seconds": 100.0 if strategy == "full" else 10.0}
                rows += [
                    training(strategy, f"lr={i}", float(value), dataset=dataset, seed=seed, **cost)
                    for i, value in enumerate(values)
                ]
    return rows


def robustness(rows: list[dict[str, Any]], samples: int = 200) -> pd.DataFrame:
    runs = number_configurations(trainings_frame(rows))
    draws = draw(runs, samples) if samples else None
    options = QualityOptions()
    measured = {name: measure(make_pairs(runs, name), draws, options) for name in sorted(runs["strategy"].unique())}
    return robustness_table(measured, draws, options)


def r2_of(rows: list[dict[str, Any]], strategy: str) -> float:
    """The strategy's r2, below 0 where the correlation is."""
    frame = make_pairs(trainings_frame(rows), strategy).frame
    correlation = float(np.corrcoef(frame["value_proxy"], frame["value_target"])[0, 1])
    return correlation * abs(correlation)


def difference(table: pd.DataFrame, part: str, name: str) -> float:
    row = table[(table["part"] == part) & (table["measure"] == name)].iloc[0]
    return float(row["difference"]) if row["strategy"] == GOOD else -float(row["difference"])


def test_each_data_set_is_compared_alone_and_all_without_the_worst() -> None:
    table = robustness(study())
    assert list(table.columns) == ROBUSTNESS_COLUMNS
    told = table.groupby(["split", "part"])["n_pairs"].unique().to_dict()
    assert {key: list(value) for key, value in told.items()} == {
        ("dataset", "clothes"): [20],
        ("dataset", "digits"): [20],
        ("without", "worst"): [38],
    }
    assert set(table["measure"]) == {"r2"}
    assert difference(table, "clothes", "r2") > 0.8
    assert abs(difference(table, "digits", "r2")) < 0.1, "there both know the one that fails, and nothing else"


def test_the_configuration_that_carries_a_correlation_is_left_out() -> None:
    only_digits = [row for row in study() if row["dataset"] == "digits"]
    without = [row for row in only_digits if row["config"] != "lr=7"]
    everything, rest = ({name: r2_of(rows, name) for name in (GOOD, POOR)} for rows in (only_digits, without))
    assert min(everything.values()) > 0.9
    assert max(np.abs(list(rest.values()))) < 0.5
    table = robustness(only_digits)
    assert set(table["split"]) == {"without"}, "one data set alone is the whole study"
    assert difference(table, "worst", "r2") == pytest.approx(rest[GOOD] - rest[POOR])


def test_several_seeds_are_compared_by_their_means() -> None:
    table = robustness(study(seeds=2))
    assert set(table["measure"]) == {"r2_of_means"}
    assert set(table["n_pairs"]) == {20, 38}


@pytest.mark.parametrize("rows", [[], [row for row in study() if row["strategy"] == "full"]])
def test_nothing_to_compare_is_an_empty_table(rows: list[dict[str, Any]]) -> None:
    if rows:
        assert robustness(rows).empty
    assert robustness(study(), samples=0).empty
    assert list(robustness(study(), samples=0).columns) == ROBUSTNESS_COLUMNS
