"""The k-means coreset: a random sample that prefers examples far from the centers of k-means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.settings import Number, setting
from proxyflow.strategies.base import Positions, register_strategy
from proxyflow.strategies.geometry import Chunked, Points


@register_strategy
@dataclass(frozen=True)
class KMeansCoreset(Chunked):
    """A random sample, drawn in proportion to how much each example can matter to any k-means clustering.

    The bound on that (its sensitivity) comes from a few centers that are drawn by D2 sampling. A coreset proper weights
    its examples by the inverse; here they are drawn without replacement and weighted equally. Helps as the middle
    between random and `k-center`: it covers the data without selecting only outliers. Costs one training on all
    examples for the embeddings, unless these are a file's, and a few passes over them. Of more than 20,000 examples
    each random chunk has its own centers and gives in proportion to its size (`geometry.Chunked`).
    """

    name = "kmeans-coreset"
    summary = "a random fraction F of the examples, those far from the centres of k-means with a higher chance"
    family = "Coverage"
    source = "Bachem et al. 2017, arXiv 1703.06476, algorithm 2"

    clusters: int = setting(10, Number(low=1, whole=True, example="10"), "k of the k-means whose clusters are covered")

    def _pick(self, points: Points, budget: int, rng: np.random.Generator) -> Positions:
        weights = sensitivities(points, min(self.clusters, len(points)), rng)
        return rng.choice(len(points), size=budget, replace=False, p=weights / weights.sum())


def sensitivities(points: Points, k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Upper bounds of the points' sensitivities for k-means, `(n,)`.

    With B the k points of a D2 sample, d their squared distances to it, m the mean of d, and c the size of a point's
    cell: a d / m + 2 a (mean of d in its cell) / m + 4 n / c, where a = 16 (log2 k + 2).
    """
    from sklearn.cluster import kmeans_plusplus  # imports sklearn

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
