"""Trainings that learned nothing: a proxy cannot rank their configurations, which is not the same as ranking them last.

A configuration may learn on the full data and stay at chance level on a proxy, where a few steps are too few for it.
Among such configurations the proxy's order is noise, and all of them lie below the others, however good they are on the
target.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from proxyflow.spaces.metric import Metric

# How many standard errors above the result of a constant prediction a result must be.
STANDARD_ERRORS = 3.0
# Shares of examples are fractions; what is exactly at the limit is not above it because of its last digit.
ROUNDING = 1e-12


def flag_unranked(runs: pd.DataFrame, metric: Metric) -> pd.Series:
    """Which trainings learned nothing that the validation examples could show.

    Args:
        runs: `objective`, `diverged`, and where they are known `chance_objective`, the objective of a constant
            prediction, and `n_valid`.
        metric: what `objective` is.

    Returns:
        `boolean`, indexed as `runs`: true where the objective is at most three binomial standard errors better than
        that of a constant prediction, or where a training diverged and has the metric's worst value. Missing where that
        is not known: the metric is no share, chance level or the number of validation examples is not known, or there
        is no objective.
    """
    flags = pd.Series(pd.NA, runs.index, dtype="boolean")
    if not metric.share:
        return flags
    value, chance, n_valid = (
        runs[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        if name in runs
        else np.full(len(runs), np.nan)
        for name in ("objective", "chance_objective", "n_valid")
    )
    error = [
        metric.standard_error(each, int(n)) if math.isfinite(n) else math.nan
        for each, n in zip(chance, n_valid, strict=True)
    ]
    margin = metric.sign * (value - chance) - STANDARD_ERRORS * np.array(error, dtype=np.float64)
    known = np.isfinite(margin)
    flags[known] = margin[known] <= ROUNDING
    diverged = runs["diverged"].astype("boolean").fillna(False).to_numpy(dtype=bool)
    flags[diverged & (value == metric.worst)] = True
    return flags
