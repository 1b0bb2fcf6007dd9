"""What several seeds add: means over them, and pairs of one seed with another.

The published measures are over single runs. Their noise, on both sides, makes every proxy look worse than it is; the
noise of a mean over S seeds has 1/S of the variance. With the same seed, proxy and target share initial weights and
augmentation, which makes a proxy look better than it is for a target that is trained from another seed; pairs of
different seeds share neither.
"""

from __future__ import annotations

import pandas as pd

from proxyflow.quality.measures import MIN_PAIRS
from proxyflow.quality.pairs import PAIR, UNRANKED, Pairs
from proxyflow.quality.runs import TARGET

# Of values whose size is about 1: far more than shares of any number of examples need.
DIGITS = 12
# Ends the name of a measure that is over means.
OF_MEANS = "_of_means"
# Ends the name of a measure that is over pairs of different seeds.
ACROSS_SEEDS = "_across_seeds"
MEASURED_ACROSS_SEEDS = ("r2", "spearman", "spearman_all", "kendall", "expected_regret")
# Seeds of the target that each seed of a proxy is paired with: all pairs of many seeds would add little.
OTHERS = 3
# What means are measured by; costs are the same over runs.
MEASURED_OF_MEANS = (
    "r2",
    "spearman",
    "spearman_all",
    "kendall",
    "top5_overlap",
    "regret",
    "expected_regret",
    "best_recovered",
)


def mean_over_seeds(pairs: Pairs) -> Pairs:
    """One pair for each configuration of a data set: the means over the seeds that both sides have.

    Returns:
        Pairs with the same columns but `unranked`; `seed` is 0 throughout, as all configurations of a data set compete.
    """
    # The flag belongs to single trainings; a mean has none.
    frame = pairs.frame.drop(columns=UNRANKED, errors="ignore")
    same = [name for name in ("config_group", "cluster") if name in frame]
    numbers = [name for name in frame.columns if name not in (*PAIR, *same)]
    groups = frame.groupby(["dataset", "config"], sort=True)
    values = [name for name in numbers if name.startswith("value_")]
    # A mean over costs some of which are not known is not known, either.
    means = groups[numbers].mean().where(groups[numbers].count().eq(groups.size(), axis=0))
    # Values with the same sum tie, whatever the last digits of their floats are.
    means[values] = means[values].round(DIGITS)
    joined = pd.concat([groups[same].first(), means], axis=1).reset_index()
    return Pairs(joined.assign(seed=0)[list(frame.columns)], pairs.n_missing)


def has_several_seeds(pairs: Pairs) -> bool:
    """Whether any configuration has been run under several seeds, on both sides."""
    return bool(pairs.frame.duplicated(["dataset", "config"]).any())


def across_seeds(runs: pd.DataFrame, strategy: str) -> Pairs:
    """A strategy's runs under each seed with the target's under other ones: all of them, or the next `OTHERS`.

    Args:
        runs: those that count, with the number `cluster` of their configuration.

    Returns:
        Pairs without costs; `seed` numbers the two seeds, as configurations under the same two compete. Values are
        normalised within these, since levels differ between seeds. Two seeds that share fewer than
        three configurations are left out.
    """
    columns = ["dataset", "config", "config_group", "cluster", "seed", "value"]
    sides = runs[["strategy", *columns]]
    proxy = sides[sides["strategy"] == strategy].drop(columns="strategy")
    target = sides.loc[sides["strategy"] == TARGET, ["dataset", "config", "seed", "value"]]
    both = proxy.merge(target, on=["dataset", "config"], suffixes=("_proxy", "_target"))
    order = {seed: place for place, seed in enumerate(sorted(sides["seed"].unique()))}
    further = (both["seed_target"].map(order) - both["seed_proxy"].map(order)) % len(order)
    both = both[further.between(1, OTHERS)]
    sizes = both.groupby(["dataset", "seed_proxy", "seed_target"])["config"].transform("size")
    both = both[sizes >= MIN_PAIRS]
    seeds = both.groupby(["seed_proxy", "seed_target"], sort=True).ngroup().astype("int64")
    both = both.assign(seed=seeds).drop(columns=["seed_proxy", "seed_target"])
    return Pairs(both.sort_values(PAIR, kind="stable", ignore_index=True), 0, ("seed",))
