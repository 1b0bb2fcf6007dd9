"""Pairs: one configuration of one data set and seed, on the proxy and on the target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
            `accuracy` and the three costs; the costs `SELECTION` of choosing the proxy; sorted by data set.
        n_missing: pairs of which one side is missing.
    """

    frame: pd.DataFrame
    n_missing: int

    @cached_property
    def strata(self) -> list[NDArray[np.int64]]:
        """Row positions of each data set."""
        return [np.flatnonzero(self.frame["dataset"] == name) for name in self.frame["dataset"].unique()]

    @property
    def proxy(self) -> NDArray[np.float64]:
        return self.frame["accuracy_proxy"].to_numpy(dtype=np.float64)

    @property
    def target(self) -> NDArray[np.float64]:
        return self.frame["accuracy_target"].to_numpy(dtype=np.float64)

    def subset(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs where `keep` is true."""
        return Pairs(self.frame[keep].reset_index(drop=True), 0)


def make_pairs(runs: pd.DataFrame, strategy: str) -> Pairs:
    """Matches a strategy's runs with the target's; what lacks one side is counted, never guessed."""
    columns = dict.fromkeys([*runs.columns, *SELECTION])
    sides = runs.reindex(columns=list(columns)).rename(columns={"best_valid_accuracy": "accuracy"})
    values = ["accuracy", *COSTS]
    proxy = sides.loc[sides["strategy"] == strategy, [*PAIR, "config_group", *values, *SELECTION]]
    target = sides.loc[sides["strategy"] == TARGET, [*PAIR, *values]]
    both = proxy.merge(target, on=PAIR, how="inner", suffixes=("_proxy", "_target"))
    n_missing = len(proxy) + len(target) - 2 * len(both)
    return Pairs(both.sort_values(PAIR, kind="stable").reset_index(drop=True), n_missing)
