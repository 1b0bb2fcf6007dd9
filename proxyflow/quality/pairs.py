"""Pairs: one configuration of one data set and seed, on the proxy and on the target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.measures import Floats, Values
from proxyflow.quality.runs import TARGET

PAIR = ["dataset", "config", "seed"]
COSTS = ("train_seconds", "examples_seen", "train_flops")
UNRANKED = "unranked"
# What choosing the proxy's examples cost, in the same units.
SELECTION = tuple(f"selection_{cost}" for cost in COSTS)


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of one strategy.

    Attributes:
        frame: `dataset`, `config`, `seed`, `config_group`, and for both sides (suffixes `_proxy`, `_target`)
            `value` (more is better), `objective` (the metric's own) and the three costs; the costs `SELECTION` of
            choosing the proxy; `unranked`, whether the proxy's run learned nothing (missing where not known); the
            number `cluster` where the runs have it; sorted by data set.
        n_missing: pairs of which one side is missing.
        within: columns that values are normalised within, besides the data set.
    """

    frame: pd.DataFrame
    n_missing: int
    within: tuple[str, ...] = ()

    @cached_property
    def values(self) -> Values:
        """The two values of each pair."""
        frame = self.frame
        return Values(
            proxy=frame["value_proxy"].to_numpy(dtype=np.float64),
            target=frame["value_target"].to_numpy(dtype=np.float64),
            strata=positions(frame, ["dataset", *self.within]),
            contests=positions(frame, ["dataset", "seed"]),
        )

    @cached_property
    def without_each(self) -> tuple[list[str], Floats]:
        """The configurations, and weights `(configurations, pairs)` that leave out one each, on all data sets."""
        codes, configs = pd.factorize(self.frame["config"], sort=True)
        return [str(name) for name in configs], (codes != np.arange(len(configs))[:, None]).astype(np.float64)

    @cached_property
    def keys(self) -> pd.MultiIndex:
        """Which pairs these are: data set, configuration and seed of each."""
        return pd.MultiIndex.from_frame(self.frame[PAIR])

    def where(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs where `keep` is true."""
        return Pairs(self.frame[keep].reset_index(drop=True), 0, self.within)


def positions(frame: pd.DataFrame, columns: list[str]) -> list[NDArray[np.int64]]:
    """Row positions of each group, groups in order of their names."""
    return [np.asarray(rows, dtype=np.int64) for _, rows in sorted(frame.groupby(columns, sort=False).indices.items())]


def make_pairs(runs: pd.DataFrame, strategy: str) -> Pairs:
    """Matches a strategy's runs with the target's; a pair that lacks one side is counted, never guessed."""
    columns = dict.fromkeys([*runs.columns, *SELECTION, UNRANKED])
    sides = runs.reindex(columns=list(columns)).astype({UNRANKED: "boolean"})
    values = ["value", "objective", *COSTS]
    labels = [name for name in ("config_group", "cluster") if name in sides]
    proxy = sides.loc[sides["strategy"] == strategy, [*PAIR, *labels, *values, *SELECTION, UNRANKED]]
    target = sides.loc[sides["strategy"] == TARGET, [*PAIR, *values]]
    both = proxy.merge(target, on=PAIR, how="inner", suffixes=("_proxy", "_target"))
    n_missing = len(proxy) + len(target) - 2 * len(both)
    return Pairs(both.sort_values(PAIR, kind="stable").reset_index(drop=True), n_missing)
