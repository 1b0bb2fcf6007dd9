"""Does a proxy find the best configuration, and what is lost where it does not?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.quality.configurations import Configurations
from proxyflow.quality.objective import Objective
from proxyflow.quality.pairs import Pairs


def best_rows(pairs: Pairs, strategy: str, default: str | None, objective: Objective) -> pd.DataFrame:
    """Per data set and seed: the configuration that the proxy ranks first, and its value on the target.

    Args:
        default: the default configuration, None where there is none.
        objective: what the values are.

    Returns:
        `dataset`, `seed`, `strategy`, `best_config` (all that tie, joined by " | "), `proxy_objective`,
        `target_objective` (nan where configurations that tie differ in it), `target_best_config`,
        `target_best_objective`, `target_default_objective` (nan where the default was not run),
        `recovered` (1, 0, or nan where a tie decides), `regret` (nan where a tie decides), see `Objective.loss`.
    """
    rows = []
    for (dataset, seed), group in pairs.frame.groupby(["dataset", "seed"], sort=True):
        first = group[group["value_proxy"] == group["value_proxy"].max()]
        best = group["value_target"].max()
        target_best = group[group["value_target"] == best]
        decided = first["value_target"].nunique() == 1
        reached = float(first["value_target"].iloc[0]) if decided else np.nan
        base = group.loc[group["config"] == default, "objective_target"]
        rows.append(
            {
                "dataset": dataset,
                "seed": seed,
                "strategy": strategy,
                "best_config": " | ".join(first["config"]),
                "proxy_objective": float(first["objective_proxy"].iloc[0]),
                "target_objective": float(first["objective_target"].iloc[0]) if decided else np.nan,
                "target_best_config": " | ".join(target_best["config"]),
                "target_best_objective": float(target_best["objective_target"].iloc[0]),
                "target_default_objective": float(base.iloc[0]) if len(base) else np.nan,
                "recovered": float(reached == best) if decided else np.nan,
                "regret": objective.loss * (float(best) - reached),
            }
        )
    return pd.DataFrame(rows, columns=BEST_COLUMNS)


BEST_COLUMNS = [
    "dataset",
    "seed",
    "strategy",
    "best_config",
    "proxy_objective",
    "target_objective",
    "target_best_config",
    "target_best_objective",
    "target_default_objective",
    "recovered",
    "regret",
]


def mean_over_datasets(best: pd.DataFrame, column: str) -> float:
    """Mean over data sets of the mean over seeds; nan where any of them is undefined."""
    if best.empty:
        return float("nan")
    return float(best.groupby("dataset")[column].agg(lambda values: values.mean(skipna=False)).mean(skipna=False))


@dataclass(frozen=True, eq=False)
class BestConfigurations:
    """The published table 1.

    Attributes:
        settings: `dataset`, `setting`, `value`, `differs` (from the default): all hyperparameters of each best one.
        values: `dataset`, `config`, `objective`, `default_objective` (nan where the default was not run), `n_seeds`.
    """

    settings: pd.DataFrame
    values: pd.DataFrame


def best_configurations(target: pd.DataFrame, configurations: Configurations) -> BestConfigurations:
    """The configuration that does best on each data set's target, by its mean value over seeds.

    Configurations that lack a seed are not compared. Those that tie are all named; the settings are those of the first.

    Args:
        target: the target's runs.
    """
    values, settings = [], []
    for dataset, runs in target.groupby("dataset", sort=True):
        by_config = runs.groupby("config", sort=False).agg(
            value=("value", "mean"), objective=("objective", "mean"), count=("value", "count")
        )
        complete = by_config[by_config["count"] == by_config["count"].max()]
        best = sorted(complete.index[complete["value"] == complete["value"].max()])
        values.append(
            {
                "dataset": dataset,
                "config": " | ".join(best),
                "objective": float(complete.loc[best[0], "objective"]),
                "default_objective": float(complete["objective"].get(configurations.default, np.nan)),
                "n_seeds": int(by_config["count"].max()),
            }
        )
        for setting in configurations.settings_of(best[0]):
            row = {"setting": setting.name, "value": setting.value, "differs": setting.differs}
            settings.append({"dataset": dataset, **row})
    return BestConfigurations(
        pd.DataFrame(settings, columns=["dataset", "setting", "value", "differs"]),
        pd.DataFrame(values, columns=["dataset", "config", "objective", "default_objective", "n_seeds"]),
    )
