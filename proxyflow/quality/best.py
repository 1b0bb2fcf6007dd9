"""Does a proxy find the best configuration, and what is lost where it does not?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.quality.options import Vocabulary
from proxyflow.quality.pairs import Pairs

PERCENT = 100.0


def best_rows(pairs: Pairs, strategy: str, vocabulary: Vocabulary) -> pd.DataFrame:
    """Per data set and seed: the configuration that the proxy ranks first, and what the target says of it.

    Returns:
        `dataset`, `seed`, `strategy`, `best_config` (all that tie, joined by " | "), `proxy_accuracy`,
        `target_accuracy` (nan where configurations that tie differ in it), `target_best_config`,
        `target_best_accuracy`, `target_default_accuracy` (nan where the default was not run),
        `recovered` (1, 0, or nan where a tie decides), `regret` in points of accuracy (nan where a tie decides).
    """
    rows = []
    default = vocabulary.default_of(pairs.frame["config"].unique())
    for (dataset, seed), group in pairs.frame.groupby(["dataset", "seed"], sort=True):
        first = group[group["accuracy_proxy"] == group["accuracy_proxy"].max()]
        best = group["accuracy_target"].max()
        target_best = group.loc[group["accuracy_target"] == best, "config"]
        decided = first["accuracy_target"].nunique() == 1
        reached = float(first["accuracy_target"].iloc[0]) if decided else np.nan
        base = group.loc[group["config"] == default, "accuracy_target"]
        rows.append(
            {
                "dataset": dataset,
                "seed": seed,
                "strategy": strategy,
                "best_config": " | ".join(first["config"]),
                "proxy_accuracy": float(first["accuracy_proxy"].iloc[0]),
                "target_accuracy": reached,
                "target_best_config": " | ".join(target_best),
                "target_best_accuracy": float(best),
                "target_default_accuracy": float(base.iloc[0]) if len(base) else np.nan,
                "recovered": float(reached == best) if decided else np.nan,
                "regret": PERCENT * (float(best) - reached),
            }
        )
    return pd.DataFrame(rows, columns=BEST_COLUMNS)


BEST_COLUMNS = [
    "dataset",
    "seed",
    "strategy",
    "best_config",
    "proxy_accuracy",
    "target_accuracy",
    "target_best_config",
    "target_best_accuracy",
    "target_default_accuracy",
    "recovered",
    "regret",
]


def averaged(best: pd.DataFrame, column: str) -> float:
    """Mean over data sets of the mean over seeds; nan where any of them is undecided."""
    if best.empty:
        return float("nan")
    return float(best.groupby("dataset")[column].agg(lambda values: values.mean(skipna=False)).mean(skipna=False))


@dataclass(frozen=True, eq=False)
class BestConfigurations:
    """The published table 1.

    Attributes:
        settings: `dataset`, `setting`, `value`, `differs` (from the default): all hyperparameters of each best one.
        accuracies: `dataset`, `config`, `accuracy`, `default_accuracy` (nan where the default was not run), `n_seeds`.
    """

    settings: pd.DataFrame
    accuracies: pd.DataFrame


def best_configurations(target: pd.DataFrame, vocabulary: Vocabulary) -> BestConfigurations:
    """The configuration that does best on each data set's target, by its mean accuracy over seeds.

    Configurations that lack a seed are not compared, as a mean over fewer seeds is another one; those that tie are all
    named, and the settings are those of the first.

    Args:
        target: the target's runs.
    """
    accuracies, settings = [], []
    default = vocabulary.default_of(target["config"].unique())
    for dataset, runs in target.groupby("dataset", sort=True):
        by_config = runs.groupby("config", sort=False)["best_valid_accuracy"].agg(["mean", "count"])
        complete = by_config[by_config["count"] == by_config["count"].max()]["mean"]
        best = sorted(complete[complete == complete.max()].index)
        accuracies.append(
            {
                "dataset": dataset,
                "config": " | ".join(best),
                "accuracy": float(complete.max()),
                "default_accuracy": float(complete.get(default, np.nan)),
                "n_seeds": int(by_config["count"].max()),
            }
        )
        for setting in vocabulary.settings_of(best[0]):
            row = {"setting": setting.name, "value": setting.value, "differs": setting.differs}
            settings.append({"dataset": dataset, **row})
    return BestConfigurations(
        pd.DataFrame(settings, columns=["dataset", "setting", "value", "differs"]),
        pd.DataFrame(accuracies, columns=["dataset", "config", "accuracy", "default_accuracy", "n_seeds"]),
    )
