"""Prototypes: the examples nearest to the centres of k-means on embeddings, or those furthest from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, Number, setting
from proxyflow.strategies.base import ExamplePool, Positions, register_strategy
from proxyflow.strategies.geometry import WHOLE, Geometric, Points, chunks_of, points_of

CLASSES = "classes"


@dataclass(frozen=True)
class ClusterCount:
    """How many clusters, or `classes`."""

    count = Number(low=1, whole=True, example="10")
    accepted = f"{CLASSES} (as many as there are), or {count.accepted}"
    example = count.example

    def parse(self, name: str, value: object) -> int | str:
        if str(value) == CLASSES:
            return CLASSES
        try:
            return int(self.count.parse(name, value))
        except InvalidValue:
            raise InvalidValue(name, value, f"it must be {self.accepted}") from None


@register_strategy
@dataclass(frozen=True)
class Prototypes(Geometric):
    """The examples whose embeddings are nearest to the centre of their cluster, or with `keep=hard` furthest from it.

    Distances are Euclidean (the paper: cosine distances, which rank embeddings of unit length alike but for the lengths
    of the centres). As many clusters as classes, with `balance=class` one for each class, unless `clusters` says
    otherwise. The centres of more than 20,000 examples are those of a random sample of so many; the distances are
    computed for all, chunk by chunk.

    The paper finds that the easy examples are the better choice where there are few, the hard ones where there are
    many. Helps with embeddings of a frozen model, which need no training.
    """

    name = "prototypes"
    summary = "the fraction F of the examples nearest to the centres of k-means on embeddings (keep=hard: furthest)"
    family = "Coverage"
    helps = (
        "Costs nothing but its selection with embeddings=file:PATH; else a training on all examples. Helps where "
        "typical examples suffice."
    )
    source = "Sorscher et al. 2022, arXiv 2206.14486, section 5 (self-supervised prototypes)"
    nested = True

    keep: str = setting("easy", Choice(("easy", "hard")), "easy: those nearest to the centres; hard: those furthest")
    clusters: int | str = setting(CLASSES, ClusterCount(), "k of the k-means")

    def _pick_from(self, pool: ExamplePool, group: Positions, budget: int, rng: np.random.Generator) -> Positions:
        sample = points_of(pool, group[:WHOLE])
        mean = sample.mean(axis=0)
        default = 1 if self.balanced else len(pool.all_classes)
        clusters = default if self.clusters == CLASSES else int(self.clusters)
        state = int(rng.integers(2**32))
        centres = centres_of(sample - mean, min(clusters, len(sample)), state)
        distances = np.concatenate([nearest(points_of(pool, chunk) - mean, centres) for chunk in chunks_of(group)])
        order = np.argsort(distances if self.keep == "easy" else -distances, kind="stable")
        return group[order[:budget]]


def centres_of(points: Points, clusters: int, state: int) -> Points:
    """The centres of k-means, `(clusters, d)` or fewer, one run from a k-means++ start."""
    from sklearn.cluster import KMeans  # imports sklearn
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # Fewer distinct points than clusters: some centres are equal, which changes no distance.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(clusters, n_init=1, max_iter=100, random_state=state).fit(points)
    # Computed again, because with several threads the rounding of sums depends on which ends first.
    found = [points[fitted.labels_ == label].mean(axis=0, dtype=np.float64) for label in np.unique(fitted.labels_)]
    return np.array(found, dtype=np.float32)


def nearest(points: Points, centres: Points) -> NDArray[np.float32]:
    """`(n,)` squared distances to the nearest centre, but for errors of rounding."""
    lengths = np.einsum("kd,kd->k", centres, centres)
    squared: NDArray[np.float32] = np.einsum("nd,nd->n", points, points)
    found: NDArray[np.float32] = squared + (lengths - 2 * (points @ centres.T)).min(axis=1)
    return found
