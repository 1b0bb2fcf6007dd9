"""Optimizer steps of each strategy's trainings: what they can learn depends on these more than on their examples."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd


def median_steps(runs: pd.DataFrame, is_synthetic: Callable[[str], bool]) -> dict[str, float]:
    """The median optimizer steps of each strategy's trainings, over all data sets, configurations and seeds.

    Args:
        runs: those that count, with `strategy` and, where known, `steps`.
        is_synthetic: whether a strategy trains on synthetic data.

    Returns:
        Strategy to its median, nan where a training's steps are not known.
    """
    found = runs[["strategy"]].assign(steps=steps_of(runs, is_synthetic))
    # A median over the known ones would be of some data sets or configurations alone.
    medians = found.groupby("strategy")["steps"].agg(lambda steps: float(steps.median(skipna=False)))
    return {str(strategy): float(steps) for strategy, steps in medians.items()}


def steps_of(runs: pd.DataFrame, is_synthetic: Callable[[str], bool]) -> pd.Series:
    """The optimizer steps of trainings, as logged.

    Version 0.1.0 did not log them. Its one trainer used whole batches alone, so there they are the examples seen over
    the batch size. Synthetic data are the exception: their budget may change the batch size.

    Args:
        runs: `strategy`, and where known `steps`, `trainer` (empty in version 0.1.0), `examples_seen`, `config_json`.

    Returns:
        `float64`, nan where they are not known.
    """
    logged = runs.get("steps", pd.Series(np.nan, runs.index)).astype("Float64").astype(np.float64)
    if not {"trainer", "examples_seen", "config_json"} <= {*runs.columns}:
        return logged
    synthetic = {name: is_synthetic(str(name)) for name in runs["strategy"].unique()}
    early = logged.isna() & (runs["trainer"] == "") & ~runs["strategy"].map(synthetic).astype(bool)
    if not early.any():
        return logged
    sizes = {text: _batch_size(text) for text in runs.loc[early, "config_json"].unique()}
    size = runs["config_json"].where(early).map(sizes).astype(np.float64)
    seen = runs["examples_seen"].astype("Float64").astype(np.float64)
    return logged.mask(early & (seen % size == 0), seen / size)


def _batch_size(config_json: Any) -> float:
    try:
        values = json.loads(config_json)
    except (TypeError, ValueError):
        return math.nan
    size = values.get("batch_size") if isinstance(values, dict) else None
    return float(size) if isinstance(size, int) and size > 0 else math.nan


def with_steps(table: pd.DataFrame, steps: Mapping[str, float]) -> pd.DataFrame:
    """A table of strategies with their steps beside their costs.

    Args:
        table: one strategy a row, in `strategy`, or two, the second in `other`.
        steps: see `median_steps`.

    Returns:
        The table with `steps`, and `other_steps` where it compares two, after the costs.
    """
    columns = list(table.columns)
    costs = [name for name in columns if name in ("relative_cost", "other_relative_cost")]
    place = columns.index(costs[-1]) + 1
    added = {name: of for name, of in (("steps", "strategy"), ("other_steps", "other")) if of in columns}
    found = {name: [steps.get(str(each), math.nan) for each in table[of]] for name, of in added.items()}
    filled = table.assign(**{name: pd.Series(each, table.index, dtype=np.float64) for name, each in found.items()})
    return filled[[*columns[:place], *added, *columns[place:]]]
