"""Searches for the best configuration, replayed on a study: what each loses and costs, on weighted configurations.

Each data set and seed of a study is one search. As with the measures, a bootstrap sample is how often each
configuration counts; one that counts twice is two configurations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from proxyflow.quality.measures import Floats

# Of values whose size is about 1: far more than shares of any number of examples need.
DIGITS = 11


@dataclass(frozen=True, eq=False)
class Searches:
    """The searches of one set of pairs, with weights: how often each configuration counts.

    Attributes:
        frame: the pairs with their `truth`.
        contests: positions of the pairs of each data set and seed.
        weights: `(samples, pairs) float64`.
        ties, target_ties: `(samples, pairs) float64` in 0..1, by which configurations that tie on the proxy and on the
            target are ordered.
    """

    frame: pd.DataFrame
    contests: list[NDArray[np.int64]]
    weights: Floats
    ties: Floats
    target_ties: Floats

    def column(self, name: str) -> Floats:
        """A column of the frame as floats."""
        return self.frame[name].to_numpy(dtype=np.float64)

    def averaged(self, values: list[Floats]) -> Floats:
        """Mean over data sets of the mean over seeds, `(samples,)`."""
        dataset = self.frame["dataset"].to_numpy()[[rows[0] for rows in self.contests]]
        stacked = np.stack(values)
        means = np.mean([stacked[dataset == name].mean(axis=0) for name in np.unique(dataset)], axis=0)
        # Rounding errors must not separate equal values; and no loss is below 0.
        return np.asarray(np.round(means, DIGITS) + 0.0)

    @cached_property
    def size(self) -> Floats:
        """Configurations of a search, `(samples,)`."""
        return self.averaged([self.weights[:, rows].sum(axis=1) for rows in self.contests])

    @cached_property
    def _best(self) -> list[Floats]:
        """The best true value of each search, `(samples,)` each; nan in samples with none of its configurations."""
        truth, found = self.column("truth"), []
        for rows in self.contests:
            best = np.where(self.weights[:, rows] > 0, truth[rows], -np.inf).max(axis=1)
            found.append(np.where(np.isfinite(best), best, np.nan))
        return found

    @cached_property
    def _by_target(self) -> list[NDArray[np.int64]]:
        """Each search's configurations, the best on the target first, `(samples, configurations)`."""
        target = self.column("value_target")
        return [_best_first(target[rows], self.target_ties[:, rows]) for rows in self.contests]

    def regret_of_proxy(self, finalists: tuple[int, ...]) -> dict[int, Floats]:
        """Regret of the policies with so many finalists each, `(samples,)`."""
        proxy, truth = self.column("value_proxy"), self.column("truth")
        lost: dict[int, list[Floats]] = {k: [] for k in finalists}
        for rows, best, order in zip(self.contests, self._best, self._by_target, strict=True):
            w = self.weights[:, rows]
            ahead = _ahead(_best_first(proxy[rows], self.ties[:, rows]), w)
            for k in finalists:
                trained = np.take_along_axis((ahead < k) & (w > 0), order, axis=1)
                taken = np.take_along_axis(order, trained.argmax(axis=1)[:, None], axis=1)[:, 0]
                lost[k].append(best - truth[rows][taken])
        return {k: self.averaged(values) for k, values in lost.items()}

    @cached_property
    def _ranked(self) -> list[tuple[NDArray[np.int64], Floats]]:
        """Per search, with the best on the target first: how many are ranked up to each, and each one's true value."""
        truth, found = self.column("truth"), []
        for rows, order in zip(self.contests, self._by_target, strict=True):
            reached = np.take_along_axis(self.weights[:, rows], order, axis=1).cumsum(axis=1)
            found.append((np.rint(reached).astype(np.int64), truth[rows][order]))
        return found

    @cached_property
    def _of_random(self) -> dict[int, Floats]:
        return {}

    def regret_of_random(self, trained: int) -> Floats:
        """Expected regret where so many configurations, chosen at random, are trained on the full data."""
        if trained not in self._of_random:
            lost = []
            for best, (reached, worth) in zip(self._best, self._ranked, strict=True):
                # The chance that none of the best so many is among those trained, and so that each is the one taken.
                none = _chance_of_none(reached, trained)
                taken = np.diff(none, axis=1, prepend=1.0)
                lost.append(best + (taken * worth).sum(axis=1))
            self._of_random[trained] = self.averaged(lost)
        return self._of_random[trained]

    def regret_of_full(self) -> Floats:
        """Regret where every configuration is trained on the full data."""
        truth, lost = self.column("truth"), []
        for rows, best, order in zip(self.contests, self._best, self._by_target, strict=True):
            there = np.take_along_axis(self.weights[:, rows] > 0, order, axis=1)
            taken = np.take_along_axis(order, there.argmax(axis=1)[:, None], axis=1)[:, 0]
            lost.append(best - truth[rows][taken])
        return self.averaged(lost)

    def cost_of_proxy(self, basis: str) -> Floats:
        """What ranking all configurations of a search by the proxy costs, in full trainings, `(samples,)`.

        What choosing the proxy's examples cost is included where it is known.
        """
        proxy, target = self.column(f"{basis}_proxy"), self.column(f"{basis}_target")
        chosen, costs = np.nan_to_num(self.column(f"selection_{basis}")), []
        for rows in self.contests:
            w = self.weights[:, rows]
            total = w @ target[rows]
            with np.errstate(invalid="ignore", divide="ignore"):
                ranking = w.sum(axis=1) * (w @ proxy[rows] + chosen[rows].max()) / total
            costs.append(np.where(total > 0, ranking, np.nan))
        return self.averaged(costs)


def _best_first(values: Floats, ties: Floats) -> NDArray[np.int64]:
    """Order of the values, the largest first, `(samples, configurations)`."""
    _, rank = np.unique(-values, return_inverse=True)
    return np.argsort(rank + 0.999 * ties, axis=1)


def _ahead(order: NDArray[np.int64], weights: Floats) -> Floats:
    """How many configurations are ahead of each in an order, `(samples, configurations)`."""
    w = np.take_along_axis(weights, order, axis=1)
    found = np.empty(weights.shape)
    np.put_along_axis(found, order, w.cumsum(axis=1) - w, axis=1)
    return found


def _chance_of_none(excluded: NDArray[np.int64], trained: int) -> Floats:
    """The chance that `trained` configurations, drawn without replacement, are all outside the first so many.

    Args:
        excluded: `(samples, configurations)`, how many are excluded; the last column is all there are.
    """
    total = excluded[:, -1:]
    left, many = total - excluded, np.minimum(trained, total)
    factorial = gammaln(np.arange(1, int(total.max(initial=0)) + 2))
    logs = factorial[left] - factorial[np.maximum(left - many, 0)] - factorial[total] + factorial[total - many]
    return np.where(left >= many, np.exp(logs), 0.0)
