"""Prototype distance: how far an embedding is from the center of its cluster, regardless of the label."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.seeds import generator, stream_seed
from proxyflow.scores.base import Floats, Score, ScoreInputs, known_scores

# Of 60,000 examples a fit to all took a tenth of the time in which their embeddings are computed.
FITTED = 10_000


def prototype_distance(embeddings: NDArray[np.float32], clusters: int, seed: int) -> Floats:
    """Euclidean distance of each embedding to the centre, the mean, of its cluster.

    k-means is fitted to 10,000 of them where there are more, and all go to the nearest of its centres.

    Args:
        embeddings: `(n, d)`, in an order that depends on the examples' content alone.
        clusters: k; Sorscher et al. find that it matters little near the number of classes.
        seed: for where k-means starts.

    Returns:
        `(n,)`, in the embeddings' own unit.
    """
    from sklearn.cluster import KMeans  # delayed for start-up time: it takes a second
    from sklearn.exceptions import ConvergenceWarning

    state = stream_seed(seed, "prototypes") % 2**32
    fitted = embeddings[generator(seed, "prototypes").permutation(len(embeddings))[:FITTED]]
    with warnings.catch_warnings():
        # Copies have the same embedding, so there may be fewer distinct points than clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans = KMeans(min(clusters, len(fitted)), n_init=1, random_state=state).fit(fitted)
    cluster_of = kmeans.predict(embeddings)
    distances = np.empty(len(embeddings))
    for cluster in np.unique(cluster_of):
        members = np.flatnonzero(cluster_of == cluster)
        points = embeddings[members].astype(np.float64)
        distances[members] = np.linalg.norm(points - points.mean(axis=0), axis=1)
    return distances


def _of_embeddings(inputs: ScoreInputs) -> Floats:
    assert inputs.model is not None
    assert inputs.model.embeddings is not None
    classes = inputs.model.logits.shape[1]
    return prototype_distance(inputs.model.embeddings, classes, inputs.seed)


known_scores.add(
    "prototype_distance",
    Score(
        "distance of the embedding to the nearest k-means centre, as many centres as classes",
        "Sorscher et al. 2022, arXiv 2206.14486, section 5 (self-supervised prototypes; here of the scoring model)",
        higher_is_harder=True,
        needs="embeddings",
        compute=_of_embeddings,
    ),
)
