"""Fixed choices of examples: every run of every study of a data set has the same ones, whatever its seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxyflow.seeds import generator
from proxyflow.strategies.budget import apportion

VALIDATION_EXAMPLES = 500

# Where a data set has no validation set of its own, most of each class stays for training.
LARGEST_SHARE = 1 / 3


def balanced_split(labels: NDArray[np.int64], hashes: NDArray[np.str_], n_valid: int) -> NDArray[np.bool_]:
    """Chooses validation examples with every class alike.

    The choice depends on the examples' content alone: not on their order, and not on a run's seed,
    because every run of every study must be judged on the same examples.

    Args:
        labels: `(n,) int64`.
        hashes: `(n,)` content hashes.
        n_valid: how many examples to choose.

    Returns:
        `(n,) bool`, true for validation examples.
    """
    classes, counts = np.unique(labels, return_counts=True)
    return _chosen("validation", labels, hashes, classes, even_quotas(counts, n_valid))


def split_off(labels: NDArray[np.int64], hashes: NDArray[np.str_], n_valid: int) -> NDArray[np.bool_]:
    """As `balanced_split`, for examples of which the others are trained on.

    Most of each class stays for training, and of an image that is there twice both copies do: a model is not to be
    judged on what it was shown. (A class of copies alone gives one all the same, as each needs one.)
    """
    _, inverse, copies = np.unique(hashes, return_inverse=True, return_counts=True)
    classes, counts = np.unique(labels, return_counts=True)
    single = copies[inverse] == 1
    without = ~np.isin(labels, labels[single])
    eligible = single | without
    most = np.maximum(counts * LARGEST_SHARE, np.minimum(counts // 2, 1)).astype(np.int64)
    available = np.array([int(eligible[labels == label].sum()) for label in classes])
    quotas = even_quotas(np.minimum(most, available), n_valid)
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[eligible] = _chosen("validation", labels[eligible], hashes[eligible], classes, quotas)
    return chosen


def _chosen(
    stream: str,
    labels: NDArray[np.int64],
    hashes: NDArray[np.str_],
    classes: NDArray[np.int64],
    quotas: Sequence[int] | NDArray[np.int64],
) -> NDArray[np.bool_]:
    """So many of each class, in an order that the stream's name and the content alone decide."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(hashes[members], kind="stable")]
        order = generator(0, stream, int(label)).permutation(len(members))
        chosen[members[order[:quota]]] = True
    return chosen


def fixed_part(labels: NDArray[np.int64], hashes: NDArray[np.str_], n: int) -> NDArray[np.bool_]:
    """Chooses `n` examples with every class in proportion, by content alone; a larger part holds the smaller ones."""
    classes, counts = np.unique(labels, return_counts=True)
    return _chosen("part", labels, hashes, classes, apportion(n, counts.tolist()))


def even_quotas(available: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """`(classes,)` how many to take of each class so that they differ as little as may be.

    A class that has too few gives all it has, and the others make up for it; what is left over by the division goes to
    the first classes that have it.
    """
    quotas = np.zeros_like(available)
    left = min(wanted, int(available.sum()))
    while left:
        open_classes = np.flatnonzero(quotas < available)
        share = max(1, left // len(open_classes))
        for label in open_classes:
            more = min(share, int(available[label] - quotas[label]), left)
            quotas[label] += more
            left -= more
    return quotas
