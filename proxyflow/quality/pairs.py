"""Pairs: one configuration of one data set and seed, on the proxy and on the target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.measures import Accuracies
from proxyflow.quality.runs import TARGET

PAIR = ["dataset", "config", "seed"]
COSTS = ("train_seconds", "examples_seen", "train_flops")
# What choosing the proxy's examples cost, in the same units.
SELECTION = tuple(f"selection_{cost}" for cost in COSTS)


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of one strategy.

    Attributes:
        frame: `dataset`, `config`, `seed`, `config_group`, and for both sides (suffixes `_proxy`, `_target`)
            `accuracy` and the three costs; the costs `SELECTION` of choosing the proxy; the number `cluster` where the
            runs have it; sorted by data set.
        n_missing: pairs of which one side is missing.
    """

    frame: pd.DataFrame
    n_missing: int

    @cached_property
    def accuracies(self) -> Accuracies:
        """The two accuracies of each pair, as accuracies in 0..1."""
        frame = self.frame
        return Accuracies(
            proxy=frame["accuracy_proxy"].to_numpy(dtype=np.float64),
            target=frame["accuracy_target"].to_numpy(dtype=np.float64),
            strata=positions(frame, ["dataset"]),
            contests=positions(frame, ["dataset", "seed"]),
        )

    @cached_property
    def keys(self) -> pd.MultiIndex:
        """Which pairs these are: data set, configuration and seed of each."""
        return pd.MultiIndex.from_frame(self.frame[PAIR])

    def where(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs where `keep` is true."""
        return Pairs(self.frame[keep].reset_index(drop=True), 0)


def positions(frame: pd.DataFrame, columns: list[str]) -> list[NDArray[np.int64]]:
    """Row positions of each group, groups in order of their names."""
    return [np.asarray(rows, dtype=np.int64) for _, rows in sorted(frame.groupby(columns, sort=False).indices.items())]


def make_pairs(runs: pd.DataFrame, strategy: str) -> Pairs:
    """Matches a strategy's runs with the target's; what lacks one side is counted, never guessed."""
    columns = dict.fromkeys([*runs.columns, *SELECTION])
    sides = runs.reindex(columns=list(columns)).rename(columns={"best_valid_accuracy": "accuracy"})
    values = ["accuracy", *COSTS]
    labels = [name for name in ("config_group", "cluster") if name in sides]
    proxy = sides.loc[sides["strategy"] == strategy, [*PAIR, *labels, *values, *SELECTION]]
    target = sides.loc[sides["strategy"] == TARGET, [*PAIR, *values]]
    both = proxy.merge(target, on=PAIR, how="inner", suffixes=("_proxy", "_target"))
    n_missing = len(proxy) + len(target) - 2 * len(both)
    return Pairs(both.sort_values(PAIR, kind="stable").reset_index(drop=True), n_missing)
