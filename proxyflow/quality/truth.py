"""A configuration's value on the full data, estimated without the runs that chose it where the study allows."""

from __future__ import annotations

import pandas as pd

OTHER_SEEDS = "other seeds"
TEST_OF_OTHER_SEEDS = "test examples, other seeds"
TEST = "test examples"
SAME_RUNS = "the same runs"
# A search with a smaller share of a data set's configurations is not comparable: it chooses from fewer.
NEARLY_ALL = 0.9


def true_values(target: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The value that a search under each seed is judged by.

    The best of many runs is partly best by chance, so a search is judged by runs with the other seeds, and on held-out
    test examples where all of the target's runs have them. Other seeds are used once nearly all configurations of every
    data set have a second one. A study with one seed and no test examples is judged by the same runs.

    Args:
        target: the target's runs: `dataset`, `config`, `seed`, `value`, and `test_value` where it is known.

    Returns:
        `dataset`, `config`, `seed`, `truth`, a row for each run that can be judged, of seeds that nearly all
        configurations of the data set have; and what judges it, one of `OTHER_SEEDS`, `TEST_OF_OTHER_SEEDS`, `TEST` and
        `SAME_RUNS`.
    """
    keys = ["dataset", "config"]
    tested = "test_value" in target and bool(len(target)) and bool(target["test_value"].notna().all())
    value = target["test_value" if tested else "value"].astype(float)
    frame = target[[*keys, "seed"]].assign(value=value)
    groups = frame.groupby(keys, sort=False)["value"]
    total, count = groups.transform("sum"), groups.transform("count")
    repeated = (frame.assign(several=count > 1).groupby(keys)["several"].first()).groupby("dataset").mean()
    if not len(repeated) or (repeated < NEARLY_ALL).any():
        return complete_searches(frame.rename(columns={"value": "truth"})), TEST if tested else SAME_RUNS
    others = frame.assign(truth=(total - frame["value"]) / (count - 1).where(count > 1))[count > 1]
    return complete_searches(others.drop(columns="value")), TEST_OF_OTHER_SEEDS if tested else OTHER_SEEDS


def complete_searches(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of searches, a data set and seed each, that have nearly all configurations of their data set."""
    size = frame.groupby(["dataset", "seed"])["config"].transform("nunique")
    most = frame.groupby("dataset")["config"].transform("nunique")
    return frame[size >= NEARLY_ALL * most]
