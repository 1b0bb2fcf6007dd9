"""The k-means coreset: a sample in which those count more that k-means would miss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.settings import Number, setting
from proxyflow.strategies.base import Positions, register
from proxyflow.strategies.geometry import Geometric, Points


@register
@dataclass(frozen=True)
class KMeansCoreset(Geometric):
    """A random sample, drawn in proportion to how much each example may matter to any k-means clustering.

    The bound on that (its sensitivity) comes from a few centres that are drawn by D2 sampling. A coreset proper
    weights its examples by the inverse; here they are drawn without replacement and all count the same. Helps as the
    middle between random and `k-center`: it spreads out, without only outliers. Costs one training on all examples
    for the embeddings, and a few passes over these.
    """

    name = "kmeans-coreset"
    summary = "a random fraction F of the examples, those far from the centres of k-means with a higher chance"
    family = "Coverage"
    source = "Bachem et al. 2017, arXiv 1703.06476, algorithm 2"

    clusters: int = setting(10, Number(low=1, whole=True, example="10"), "k of the k-means that must not be missed")

    def _pick(self, points: Points, budget: int, rng: np.random.Generator) -> Positions:
        weights = sensitivities(points, min(self.clusters, len(points)), rng)
        return rng.choice(len(points), size=budget, replace=False, p=weights / weights.sum())


def sensitivities(points: Points, k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Upper bounds of the points' sensitivities for k-means, `(n,)`.

    With B the k points of a D2 sample, d their squared distances to it, m the mean of d, and c the size of a point's
    cell: a d / m + 2 a (mean of d in its cell) / m + 4 n / c, where a = 16 (log2 k + 2).
    """
    from sklearn.cluster import kmeans_plusplus

    state = int(rng.integers(2**32))
    _, centres = kmeans_plusplus(points, k, random_state=state, n_local_trials=1)
    squared = np.stack([np.square(points - points[centre]).sum(axis=1, dtype=np.float64) for centre in centres])
    cell, distance = squared.argmin(axis=0), squared.min(axis=0)
    sizes = np.bincount(cell, minlength=k)
    mean = distance.mean()
    spread = np.zeros(len(points))
    if mean > 0:  # else all points are centres
        within = np.bincount(cell, distance, minlength=k) / np.maximum(sizes, 1)
        alpha = 16 * (math.log2(k) + 2)
        spread = alpha * (distance + 2 * within[cell]) / mean
    return np.asarray(spread + 4 * len(points) / sizes[cell])
