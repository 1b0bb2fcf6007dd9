"""Notes on a study: why cells of its tables are empty, and what makes values imprecise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from proxyflow.quality.measures import MIN_PAIRS
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs
from proxyflow.quality.runs import TARGET
from proxyflow.quality.strategy_measures import MEASURES, StrategyMeasures, relative_cost
from proxyflow.quality.validation_noise import noise_notes
from proxyflow.spaces.metric import Metric

# Share of undefined bootstrap samples above which there is a note.
UNDEFINED_SHARE = 0.05
NO_TARGET = (
    f"no training of the target (strategy {TARGET}) is finished, so there is nothing to compare proxies with yet."
)


def study_notes(target: pd.DataFrame, noise: pd.DataFrame, metric: Metric, rough: str) -> list[str]:
    """Notes on the study as a whole, besides those on which runs count."""
    return [
        *_unequal_seeds(target),
        *noise_notes(noise, metric),
        *([NO_TARGET] if target.empty else []),
        *([rough] if rough else []),
    ]


def _unequal_seeds(target: pd.DataFrame) -> list[str]:
    """A note where some configurations of the target have fewer seeds than others."""
    counts = target.groupby(["dataset", "config"])["seed"].nunique()
    if counts.nunique() < 2:
        return []
    return [
        f"the target's configurations have {counts.min()} to {counts.max()} seeds each: means over fewer seeds are "
        "noisier, so measures of means are imprecise until all have the same number."
    ]


def strategy_notes(strategy: str, measured: StrategyMeasures, options: QualityOptions) -> list[str]:
    """Why cells of a strategy are empty, or not what they seem."""
    estimates, frame = measured.estimates, measured.pairs.frame
    reasons = []
    for name in ("r2", "spearman", "spearman_all"):
        if np.isnan(estimates[name].value):
            reasons.append(f"{name} is empty: {_why_undefined(name, measured.pairs, options)}")
        elif estimates[name].undefined > UNDEFINED_SHARE:
            reasons.append(
                f"{name}: {estimates[name].undefined:.0%} of the bootstrap samples leave it undefined, so its interval "
                "is imprecise."
            )
    if len(frame) >= MIN_PAIRS and strategy != TARGET and (frame["value_proxy"] == frame["value_target"]).all():
        reasons.append(
            "every training has exactly the target's value: if it reduces the data, the training may not read it."
        )
    few = sum(count < MIN_PAIRS for count in _good_by_contest(measured.pairs, options))
    if few and np.isfinite(estimates["spearman"].value):
        reasons.append(
            f"spearman leaves out {few} data set(s) and seed(s) with fewer than {MIN_PAIRS} good configurations."
        )
    slope = MEASURES["r2"].formula(measured.pairs, np.ones((1, len(frame))), options)[0] if len(frame) else np.nan
    if slope < 0:
        reasons.append(
            "the correlation is negative: what is better on the proxy is worse on the target, however large r2 is."
        )
    for column, cost in (("relative_cost", options.cost_basis), ("relative_examples", "examples_seen")):
        if not len(frame):
            reasons.append(f"{column} is empty: there is no pair.")
        elif np.isnan(relative_cost(measured.pairs, np.ones((1, len(frame))), cost)[0]):
            reasons.append(f"{column} is empty: some of the runs have no {cost}.")
    if np.isnan(estimates["regret"].value):
        why = "configurations tie for the proxy's first place" if len(frame) else "there is no pair"
        reasons.append(f"regret and best_recovered are empty: {why}.")
    return reasons


def _good_by_contest(pairs: Pairs, options: QualityOptions) -> list[int]:
    """How many configurations of each data set and seed Spearman is computed over."""
    values = pairs.values
    return [int(options.good.mask(values.proxy[rows], np.ones((1, len(rows)))).sum()) for rows in values.contests]


def _why_undefined(name: str, pairs: Pairs, options: QualityOptions) -> str:
    if len(pairs.frame) < MIN_PAIRS:
        return f"{len(pairs.frame)} pair(s), and it takes at least {MIN_PAIRS}."
    for dataset, group in pairs.frame.groupby("dataset"):
        for side in ("proxy", "target"):
            if group[f"value_{side}"].nunique() < 2:
                return f"the {side}'s values on {dataset} are all equal, so they give no ranking."
    good = max(_good_by_contest(pairs, options))
    if name == "spearman" and good < MIN_PAIRS:
        return f"{good} good configuration(s) of a data set and seed, and it takes at least {MIN_PAIRS}."
    return "the good configurations tie on one side, so they give no ranking."
