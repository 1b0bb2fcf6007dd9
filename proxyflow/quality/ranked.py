"""A proxy's measures without the configurations that it cannot rank, see `unranked`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from proxyflow.quality.bootstrap import Draws, Estimate
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.strategy_measures import StrategyMeasures, measure

# Ends the name of a measure that is over pairs whose proxy run learned something.
RANKED = "_ranked"
MEASURED_RANKED = ("r2", "spearman", "regret")


@dataclass(frozen=True)
class Ranked:
    """What a strategy cannot rank, and its measures over the rest.

    Attributes:
        n_unranked: pairs whose run of the strategy learned nothing; None where that is not known of any.
        n_pairs: all pairs.
        configurations: those that are in such a pair, sorted.
        n_configurations: of all pairs.
        estimates: the measures `MEASURED_RANKED` over the other pairs; those over all where `n_unranked` is 0, and
            empty where it is None.
    """

    n_unranked: int | None
    n_pairs: int
    configurations: tuple[str, ...]
    n_configurations: int
    estimates: Mapping[str, Estimate]

    @property
    def some(self) -> bool:
        """Whether there are configurations that the strategy cannot rank."""
        return bool(self.n_unranked)

    @property
    def share_text(self) -> str:
        """How many it cannot rank: `1 of 36 configurations`, or `14 of 216 pairs (of 7 of the 36 configurations)`."""
        if self.n_pairs == self.n_configurations:
            return f"{self.n_unranked} of {self.n_configurations} configurations"
        of = f"of {len(self.configurations)} of the {self.n_configurations} configurations"
        return f"{self.n_unranked} of {self.n_pairs} pairs ({of})"


def measure_ranked(measured: StrategyMeasures, draws: Draws | None, options: QualityOptions) -> Ranked:
    """The measures of a strategy without the pairs whose run of it learned nothing, on the same bootstrap samples.

    Pairs of which it is not known stay.
    """
    frame = measured.pairs.frame
    n_configurations = int(frame["config"].nunique())
    if frame["unranked"].isna().all():
        return Ranked(None, len(frame), (), n_configurations, {})
    unranked = frame["unranked"].fillna(False).to_numpy(dtype=bool)
    estimates: Mapping[str, Estimate] = measured.estimates
    if unranked.any():
        estimates = measure(measured.pairs.where(~unranked), draws, options, MEASURED_RANKED).estimates
    return Ranked(
        int(np.count_nonzero(unranked)),
        len(frame),
        tuple(sorted(frame.loc[unranked, "config"].astype(str).unique())),
        n_configurations,
        {name: estimates[name] for name in MEASURED_RANKED},
    )


def ranked_notes(strategy: str, ranked: Ranked) -> list[str]:
    """A sentence where a strategy cannot rank some of the configurations."""
    if not ranked.some:
        return []
    which = "the target" if strategy == TARGET else "this proxy"
    return [
        f"{which} cannot rank {ranked.share_text}: their trainings are not shown to be better than a constant "
        f"prediction. Not ranked is not the same as ranked last; measures without them end in {RANKED}."
    ]
