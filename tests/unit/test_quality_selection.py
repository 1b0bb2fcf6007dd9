"""A strategy that trains a model to choose is charged for it, once per data set, and pays off where that is earned back."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from made_up import training, trainings_frame

from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.selection import SELECTION_COLUMNS, selection_table


def table_of(rows: list[dict[str, Any]], basis: str = "train_seconds") -> pd.DataFrame:
    frame = trainings_frame(rows)
    for column in ("selection_train_seconds", "selection_examples_seen", "selection_train_flops"):
        frame[column] = [row.get(column, math.nan) for row in rows]
    names = dict.fromkeys(frame["strategy"])
    return selection_table({name: make_pairs(frame, name) for name in names}, basis).set_index("strategy")


def rows(strategy: str, seconds: float, selection: float, n: int = 4, **changes: Any) -> list[dict[str, Any]]:
    return [
        training(
            strategy,
            f"lr={i}",
            train_seconds=seconds,
            selection_train_seconds=selection,
            **{"dataset": "digits", **changes},
        )
        for i in range(n)
    ]


def test_selection_is_added_once_per_data_set_whatever_the_number_of_configurations_and_seeds() -> None:
    found = []
    for seed in (0, 1):
        for dataset, selection in (("digits", 30.0), ("letters", 70.0)):
            found += rows("full", 100.0, 0.0, dataset=dataset, seed=seed)
            found += rows("easiest:0.1", 10.0, selection, dataset=dataset, seed=seed)
    table = table_of(found)
    assert list(table.reset_index().columns) == SELECTION_COLUMNS
    easiest = table.loc["easiest:0.1"]
    assert easiest["selection_cost"] == 100
    assert easiest["relative_cost"] == 0.1
    assert easiest["relative_cost_with_selection"] == (160 + 100) / 1600
    # Each configuration saves 90 on either data set, 180 in all, which is more than the 100 that scoring took.
    assert easiest["pays_off_after"] == 1
    assert table.loc["full", "relative_cost_with_selection"] == 1


def test_it_pays_off_after_the_least_number_of_configurations_that_earn_it_back() -> None:
    for selection, expected in ((0.0, 0), (89.0, 1), (90.0, 1), (91.0, 2), (900.0, 10)):
        table = table_of(rows("full", 100.0, 0.0) + rows("easiest:0.1", 10.0, selection))
        assert table.loc["easiest:0.1", "pays_off_after"] == expected


def test_a_proxy_that_saves_nothing_never_pays_off() -> None:
    table = table_of(rows("full", 100.0, 0.0) + rows("easiest:1.0,by=el2n", 100.0, 50.0))
    assert pd.isna(table.loc["easiest:1.0,by=el2n", "pays_off_after"])
    assert table.loc["easiest:1.0,by=el2n", "relative_cost_with_selection"] == 450 / 400


def test_a_cost_that_is_not_known_is_left_empty() -> None:
    table = table_of(rows("full", 100.0, 0.0) + rows("easiest:0.1", 10.0, math.nan))
    row = table.loc["easiest:0.1"]
    assert row["relative_cost"] == 0.1
    assert math.isnan(row["selection_cost"])
    assert math.isnan(row["relative_cost_with_selection"])
    assert pd.isna(row["pays_off_after"])


def test_the_unit_is_that_of_the_cost_basis() -> None:
    found = rows("full", 100.0, 0.0, selection_examples_seen=0.0)
    found += rows("easiest:0.1", 10.0, 5.0, examples_seen=2000.0, selection_examples_seen=20_000.0)
    table = table_of(found, "examples_seen")
    assert table.loc["easiest:0.1", "relative_cost"] == 0.1
    assert table.loc["easiest:0.1", "relative_cost_with_selection"] == (8_000 + 20_000) / 80_000
    assert table.loc["easiest:0.1", "pays_off_after"] == 2


def test_a_strategy_without_a_pair_has_a_row_without_numbers() -> None:
    found = rows("full", 100.0, 0.0) + rows("easiest:0.1", 10.0, 5.0, dataset="letters")
    row = table_of(found).loc["easiest:0.1"]
    assert row["n_pairs"] == 0
    assert math.isnan(row["relative_cost_with_selection"])
