"""Whether the proxy's winner is the true one is the user's question; a tie must not be answered by file order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.best import BEST_COLUMNS, BestConfigurations, best_configurations, best_rows, mean_over_datasets
from proxyflow.quality.configurations import Configurations
from proxyflow.quality.objective import Objective
from proxyflow.quality.pairs import make_pairs

PROXY = "random:0.1"


def rows_of(
    proxy: Mapping[str, float], target: Mapping[str, float], dataset: str = "digits", seed: int = 0
) -> list[dict[str, Any]]:
    sides = ((PROXY, proxy), ("full", target))
    return [
        training(strategy, config, accuracy, dataset=dataset, seed=seed)
        for strategy, accuracies in sides
        for config, accuracy in accuracies.items()
    ]


def best_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = trainings_frame(rows)
    return best_rows(make_pairs(frame, PROXY), PROXY, Configurations.of(frame).default, Objective())


def best_by_dataset(runs: pd.DataFrame) -> BestConfigurations:
    return best_configurations(runs, Configurations.of(runs))


def the_best(proxy: Mapping[str, float], target: Mapping[str, float]) -> dict[str, Any]:
    table = best_of(rows_of(proxy, target))
    assert len(table) == 1
    return {str(key): value for key, value in table.iloc[0].items()}


TARGET = {"default": 0.90, "lr=0.1": 0.85, "opt=sgd": 0.925}


def test_a_proxy_that_finds_the_best_loses_nothing() -> None:
    row = the_best({"default": 0.6, "lr=0.1": 0.5, "opt=sgd": 0.7}, TARGET)
    assert (row["best_config"], row["target_best_config"]) == ("opt=sgd", "opt=sgd")
    assert (row["proxy_objective"], row["target_objective"], row["target_best_objective"]) == (0.7, 0.925, 0.925)
    assert (row["recovered"], row["regret"]) == (1.0, 0.0)


def test_a_proxy_that_finds_another_loses_points_of_accuracy() -> None:
    row = the_best({"default": 0.7, "lr=0.1": 0.5, "opt=sgd": 0.6}, TARGET)
    assert (row["best_config"], row["target_best_config"]) == ("default", "opt=sgd")
    assert row["recovered"] == 0.0
    assert row["regret"] == pytest.approx(2.5)


def test_the_accuracy_of_the_default_is_told_where_it_was_run() -> None:
    assert the_best({"default": 0.7, "opt=sgd": 0.6}, TARGET)["target_default_objective"] == 0.90
    assert math.isnan(the_best({"lr=0.1": 0.7, "opt=sgd": 0.6}, TARGET)["target_default_objective"])


def test_only_pairs_are_looked_at() -> None:
    row = the_best({"default": 0.7, "opt=adamw": 0.9}, {"default": 0.9, "opt=sgd": 0.99})
    assert (row["best_config"], row["target_best_objective"], row["regret"]) == ("default", 0.9, 0.0)


def test_a_tie_for_the_first_place_that_decides_leaves_the_answer_open() -> None:
    row = the_best({"default": 0.7, "lr=0.1": 0.5, "opt=sgd": 0.7}, TARGET)
    assert row["best_config"] == "default | opt=sgd"
    assert math.isnan(row["recovered"])
    assert math.isnan(row["regret"])
    assert math.isnan(row["target_objective"])


def test_a_tie_between_configurations_of_equal_target_accuracy_decides_nothing() -> None:
    row = the_best({"default": 0.7, "lr=0.1": 0.7, "opt=sgd": 0.5}, {"default": 0.9, "lr=0.1": 0.9, "opt=sgd": 0.95})
    assert row["recovered"] == 0.0
    assert row["regret"] == pytest.approx(5)


def test_either_of_two_best_targets_is_the_best() -> None:
    row = the_best({"default": 0.7, "lr=0.1": 0.5}, {"default": 0.9, "lr=0.1": 0.9})
    assert row["target_best_config"] == "default | lr=0.1"
    assert (row["recovered"], row["regret"]) == (1.0, 0.0)


def test_a_tie_below_the_first_place_is_none() -> None:
    row = the_best({"default": 0.6, "lr=0.1": 0.6, "opt=sgd": 0.7}, TARGET)
    assert (row["recovered"], row["regret"]) == (1.0, 0.0)


def test_there_is_one_row_per_data_set_and_seed() -> None:
    rows = [
        row
        for dataset in ("letters", "digits")
        for seed in (1, 0)
        for row in rows_of({"default": 0.6, "opt=sgd": 0.5}, TARGET, dataset, seed)
    ]
    table = best_of(rows)
    assert list(table.columns) == BEST_COLUMNS
    assert list(zip(table["dataset"], table["seed"], strict=True)) == [
        ("digits", 0),
        ("digits", 1),
        ("letters", 0),
        ("letters", 1),
    ]
    assert set(table["strategy"]) == {PROXY}


def test_no_pairs_give_no_rows_and_no_average() -> None:
    table = best_of(rows_of({"default": 0.6}, {"opt=sgd": 0.9}))
    assert table.empty
    assert list(table.columns) == BEST_COLUMNS
    assert math.isnan(mean_over_datasets(table, "regret"))


def regrets(*rows: tuple[str, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["dataset", "seed", "regret"])


def test_the_average_is_over_seeds_and_then_over_data_sets() -> None:
    table = regrets(("digits", 0, 1.0), ("digits", 1, 2.0), ("digits", 2, 3.0), ("letters", 0, 10.0))
    assert mean_over_datasets(table, "regret") == pytest.approx((2 + 10) / 2)


def test_one_open_answer_leaves_the_average_open() -> None:
    table = regrets(("digits", 0, 1.0), ("digits", 1, math.nan), ("letters", 0, 10.0))
    assert math.isnan(mean_over_datasets(table, "regret"))


def target_runs(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    return trainings_frame(
        [training("full", config, accuracy, dataset=dataset, seed=seed) for dataset, config, seed, accuracy in rows]
    )


def test_the_best_configuration_of_each_data_set_is_told_with_its_settings_and_the_defaults_accuracy() -> None:
    found = best_by_dataset(
        target_runs(
            ("digits", "default", 0, 0.92),
            ("digits", "lr=0.007,smooth=0", 0, 0.926),
            ("letters", "default", 0, 0.784),
            ("letters", "flip=0.25", 0, 0.801),
        )
    )
    assert list(found.values.itertuples(index=False, name=None)) == [
        ("digits", "lr=0.007,smooth=0", 0.926, 0.92, 1),
        ("letters", "flip=0.25", 0.801, 0.784, 1),
    ]
    changed = found.settings[found.settings["differs"]]
    assert list(changed[["dataset", "setting", "value"]].itertuples(index=False, name=None)) == [
        ("digits", "learning_rate", "0.007"),
        ("digits", "label_smoothing", "0.0"),
        ("letters", "flip_probability", "0.25"),
    ]
    assert len(found.settings) == 2 * 7


def test_the_best_is_by_the_mean_over_seeds_and_one_that_lacks_a_seed_is_not_compared() -> None:
    found = best_by_dataset(
        target_runs(
            ("digits", "default", 0, 0.80),
            ("digits", "default", 1, 0.90),
            ("digits", "lr=0.1", 0, 0.95),
            ("digits", "lr=0.1", 1, 0.70),
            ("digits", "lr=0.01", 0, 0.99),
        )
    )
    (row,) = found.values.to_dict("records")
    assert row["config"] == "default"
    assert (row["objective"], row["default_objective"]) == pytest.approx((0.85, 0.85))
    assert row["n_seeds"] == 2


def test_best_configurations_that_tie_are_all_named_and_the_first_ones_settings_told() -> None:
    found = best_by_dataset(
        target_runs(("digits", "opt=sgd", 0, 0.9), ("digits", "lr=0.1", 0, 0.9), ("digits", "default", 0, 0.8))
    )
    (row,) = found.values.to_dict("records")
    assert row["config"] == "lr=0.1 | opt=sgd"
    assert row["default_objective"] == 0.8
    assert list(found.settings.loc[found.settings["differs"], "setting"]) == ["learning_rate"]


def test_a_best_configuration_unknown_to_this_version_is_named_without_settings() -> None:
    found = best_by_dataset(target_runs(("digits", "mixup=0.4", 0, 0.9), ("digits", "default", 0, 0.8)))
    assert list(found.values["config"]) == ["mixup=0.4"]
    assert found.settings.empty


def test_no_target_has_no_best_configuration() -> None:
    found = best_by_dataset(target_runs().iloc[:0])
    assert found.values.empty
    assert list(found.values.columns) == ["dataset", "config", "objective", "default_objective", "n_seeds"]
    assert list(found.settings.columns) == ["dataset", "setting", "value", "differs"]


def test_the_accuracy_of_a_base_that_is_not_the_default_is_told() -> None:
    accuracies = {"arch=xresnet18-w16": 0.7, "arch=xresnet18-w16,lr=0.1": 0.9, "arch=xresnet18-w16,flip=0": 0.8}
    assert the_best(accuracies, accuracies)["target_default_objective"] == 0.7
    runs = target_runs(*(("digits", config, 0, accuracy) for config, accuracy in accuracies.items()))
    assert best_by_dataset(runs).values["default_objective"].tolist() == [0.7]
