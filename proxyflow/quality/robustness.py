"""Whether comparisons hold on each data set alone, and without the configuration that the target does worst with.

A pooled difference may average two data sets that disagree, and a correlation may depend on one configuration that
fails on both the proxy and the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.bootstrap import Draws
from proxyflow.quality.comparisons import COMPARISON_COLUMNS, compare_strategies
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import OF_MEANS, has_several_seeds, mean_over_seeds
from proxyflow.quality.strategy_measures import StrategyMeasures, measure

ROBUSTNESS_COLUMNS = ["split", "part", *COMPARISON_COLUMNS]
DATASET, WITHOUT, WORST = "dataset", "without", "worst"
# The better half of a part has too few configurations to separate two ways of ranking them.
MEASURED = ("r2", "relative_cost")


def robustness_table(
    measured: Mapping[str, StrategyMeasures], draws: Draws | None, options: QualityOptions
) -> pd.DataFrame:
    """Every two proxies of similar cost, compared by r2 on parts of the pairs: see `comparisons.compare_strategies`.

    Over means over seeds where all strategies have several seeds, as the verdict on two strategies should be.

    Returns:
        Columns `ROBUSTNESS_COLUMNS`. `split` and `part` are `dataset` and its name, where there are several, or
        `without` and `worst`: all data sets, each without the configuration with the target's lowest mean value.
    """
    proxies = {name: each.pairs for name, each in measured.items() if name != TARGET}
    if draws is None or not any(len(each.frame) for each in proxies.values()):
        return pd.DataFrame(columns=ROBUSTNESS_COLUMNS)
    of_means = all(has_several_seeds(each) for each in proxies.values())
    pairs = {name: mean_over_seeds(each) if of_means else each for name, each in proxies.items()}
    found = []
    for split, part, keep in _parts({name: each.frame for name, each in pairs.items()}):
        of_part = {name: measure(each.where(keep[name]), draws, options, MEASURED) for name, each in pairs.items()}
        table = compare_strategies(of_part, draws, options)
        if of_means:
            table["measure"] += OF_MEANS
        else:
            table = table[~table["measure"].str.endswith(OF_MEANS)]
        found.append(table.assign(split=split, part=part)[ROBUSTNESS_COLUMNS])
    filled = [table for table in found if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=ROBUSTNESS_COLUMNS)


def _parts(frames: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, dict[str, NDArray[np.bool_]]]]:
    """Each part's split and name, and which pairs of each strategy are in it."""
    rows = pd.concat(list(frames.values()), ignore_index=True)
    datasets = sorted(rows["dataset"].unique())
    if len(datasets) > 1:
        for dataset in datasets:
            yield (
                DATASET,
                str(dataset),
                {name: (each["dataset"] == dataset).to_numpy() for name, each in frames.items()},
            )
    # Every strategy's pairs have the target's values, but maybe not all of them.
    target = rows.drop_duplicates(["dataset", "config", "seed"])
    means = target.groupby(["dataset", "config"])["value_target"].mean()
    worst = pd.MultiIndex.from_tuples(means.groupby("dataset").idxmin(), names=means.index.names)
    yield (
        WITHOUT,
        WORST,
        {name: ~pd.MultiIndex.from_frame(each[["dataset", "config"]]).isin(worst) for name, each in frames.items()},
    )
