"""How much of the difference between good configurations may be the noise of a finite validation set.

A share of n examples has a binomial standard error, the same whatever the seed, as all runs are judged by the same
examples. Where the good configurations are no further apart than that, their order on the target is partly chance. Of
metrics that are no shares the noise is not known.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from proxyflow.spaces.metric import Metric

NOISE_COLUMNS = ["dataset", "n_valid", "objective", "standard_error", "spread", "n_configurations"]
# Of the spread of the better half; above it a note warns of the standard error.
LARGE = 0.5


def validation_noise(target: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Per data set the standard error of a share beside the spread of the better half of the configurations.

    Args:
        target: the target's runs that count: `dataset`, `config`, `seed`, `value`, and `n_valid` where it is known.

    Returns:
        Columns `NOISE_COLUMNS`, without a row where the metric is no share: `objective`, the mean over the better half
        (rounded up) of the configurations by their mean over seeds; `standard_error`, sqrt(p (1 - p) / n) there, and
        `spread`, the standard deviation of the better half's means, both in points; `n_configurations` of the better
        half. `n_valid` is the smallest of the data set's runs. `standard_error` is missing where `n_valid` is not
        known, `spread` with fewer than two configurations.
    """
    rows = []
    for dataset, runs in target.groupby("dataset", sort=True) if metric.share else ():
        means = runs.groupby("config", sort=True)["value"].mean().dropna()
        if means.empty:
            continue
        better = means.nlargest(math.ceil(len(means) / 2)).to_numpy(dtype=np.float64)
        share, examples = metric.sign * float(better.mean()), _examples(runs)
        rows.append(
            {
                "dataset": dataset,
                "n_valid": examples,
                "objective": share,
                "standard_error": metric.scale * metric.standard_error(share, examples or 0),
                "spread": metric.scale * float(better.std(ddof=1)) if len(better) > 1 else math.nan,
                "n_configurations": len(better),
            }
        )
    whole = {"n_valid": "Int64", "n_configurations": "int64"}
    numbers = dict.fromkeys(("objective", "standard_error", "spread"), "float64")
    return pd.DataFrame(rows, columns=NOISE_COLUMNS).astype({**whole, **numbers})


def _examples(runs: pd.DataFrame) -> int | None:
    known = runs["n_valid"].dropna() if "n_valid" in runs else runs.iloc[:0, 0]
    known = known[known > 0]
    return int(known.min()) if len(known) else None


def noise_notes(noise: pd.DataFrame, metric: Metric) -> list[str]:
    """A sentence for each data set whose validation examples are too few to tell its good configurations apart.

    Args:
        noise: as from `validation_noise`.
    """
    return [
        f"on {row['dataset']} the standard error of {metric.label} over {row['n_valid']:,} validation examples is "
        f"{row['standard_error']:.1f} points, and the standard deviation over the better half of the configurations is "
        f"{row['spread']:.1f} points: which of them is best is partly noise; use more validation examples "
        "(valid_examples)."
        for row in noise.to_dict("records")
        if row["standard_error"] > LARGE * row["spread"]
    ]
