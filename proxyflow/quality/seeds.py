"""Configurations by their mean over seeds: a single run's luck counts less, on the proxy and on the target.

The published measures are over single runs. Their noise, on both sides, makes every proxy look worse than it is; a mean
over S seeds has a noise of S times smaller variance.
"""

from __future__ import annotations

import pandas as pd

from proxyflow.quality.pairs import PAIR, Pairs

# Far more than the accuracies of any number of images need.
DIGITS = 12
# Ends the name of a measure that is over means.
OF_MEANS = "_of_means"
# What means are measured by; costs are the same over runs.
MEASURED_OF_MEANS = ("r2", "spearman", "kendall", "top5_overlap", "regret", "expected_regret", "best_recovered")


def over_seeds(pairs: Pairs) -> Pairs:
    """One pair for each configuration of a data set: the means over the seeds that both sides have.

    Returns:
        Pairs with the same columns; `seed` is 0 throughout, as all configurations of a data set compete.
    """
    frame = pairs.frame
    same = [name for name in ("config_group", "cluster") if name in frame]
    numbers = [name for name in frame.columns if name not in (*PAIR, *same)]
    groups = frame.groupby(["dataset", "config"], sort=True)
    accuracies = [name for name in numbers if name.startswith("accuracy_")]
    # A mean over costs some of which are not known is not known, either.
    means = groups[numbers].mean().where(groups[numbers].count().eq(groups.size(), axis=0))
    # Accuracies with the same sum tie, whatever the last digits of their floats are.
    means[accuracies] = means[accuracies].round(DIGITS)
    joined = pd.concat([groups[same].first(), means], axis=1).reset_index()
    return Pairs(joined.assign(seed=0)[list(frame.columns)], pairs.n_missing)


def several(pairs: Pairs) -> bool:
    """Whether any configuration has been run under several seeds, on both sides."""
    return bool(pairs.frame.duplicated(["dataset", "config"]).any())
