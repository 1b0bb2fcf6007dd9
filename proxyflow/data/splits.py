"""Splits of a data set's examples, decided by their content so that every run of every study has the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.seeds import generator
from proxyflow.data.groups import group_numbers, linked, share_out_groups
from proxyflow.data.protocol import Examples, by_content, content_ranks
from proxyflow.strategies.budget import apportion

# Validation examples of a data set that does not have many; of others this share of the training examples.
VALIDATION_EXAMPLES = 500
AVAILABLE_SHARE = 1 / 5

# Where a data set has no validation set of its own, this share of its examples, and most of each class stays for
# training.
SPLIT_OFF_SHARE = 1 / 10
LARGEST_SHARE = 1 / 3


def split_off_examples(n: int) -> int:
    """How many of `n` examples validation takes where the data set has no validation set of its own."""
    return max(VALIDATION_EXAMPLES, int(n * SPLIT_OFF_SHARE))


def split_off(labels: NDArray[np.int64], content: NDArray[Any], n_valid: int) -> NDArray[np.bool_]:
    """Chooses validation examples, with every class alike, from examples of which the others are trained on.

    Most of each class stays for training. Of an example that is there twice both copies do: a model must not be
    validated on what it was trained on. (A class of copies alone gives one all the same, as each class needs one.)

    The choice depends on the examples' content alone: not on their order, and not on a run's seed, because every run of
    every study must be validated on the same examples.

    Args:
        labels: `(n,) int64`.
        content: `(n,)` content hashes, or anything that is equal and sorted as they are (`protocol.content_ranks`).
        n_valid: how many examples to choose.

    Returns:
        `(n,) bool`, true for validation examples.
    """
    eligible, room = split_off_room(labels, content)
    quotas = even_quotas(room, n_valid)
    return front_and_back(labels, content, quotas, np.zeros_like(quotas), eligible=eligible)[0]


def split_off_room(
    labels: NDArray[np.int64], content: NDArray[Any], groups: NDArray[Any] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which examples may be split off, and how many of each class may be; see `split_off`.

    With groups these are whole groups. Copies within one group may be split off, as they stay together.
    """
    counts = np.bincount(labels)
    _, number = np.unique(content, return_inverse=True)
    group = np.arange(len(labels)) if groups is None else group_numbers(groups)
    # Of each content the number of groups that hold it.
    pairs = np.sort(number * len(labels) + group)
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    holders = np.bincount(pairs // max(1, len(labels)))
    single = _all_of(group, holders[number] == 1)
    without = ~np.isin(labels, labels[single])
    eligible = single | ~_all_of(group, ~without)
    most = np.maximum(counts * LARGEST_SHARE, np.minimum(counts // 2, 1)).astype(np.int64)
    return eligible, np.minimum(most, np.bincount(labels[eligible], minlength=len(counts)))


def _all_of(group: NDArray[np.int64], holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`(n,)`, whether something holds for all members of each example's group."""
    return np.asarray(np.bincount(group, ~holds)[group] == 0, dtype=bool)


def front_and_back(
    labels: NDArray[np.int64],
    content: NDArray[Any],
    front: NDArray[np.int64],
    back: NDArray[np.int64],
    groups: NDArray[Any] | None = None,
    eligible: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The first and the last so many of each class, in an order that the content alone decides.

    Args:
        front, back: `(classes,)` quotas by label, together at most what the class has.
        groups: `(n,)`; their members stay together, so counts are only as near to the quotas as whole groups allow.
        eligible: `(n,)` examples that may be chosen, whole groups where there are any, where the others are trained on:
            then groups leave at least half of each class. None is all, where the others are not used.

    Raises:
        Inseparable: a class has too few groups for each set to have one.
    """
    pool = np.arange(len(labels)) if eligible is None else np.flatnonzero(eligible)
    order = [_in_order("validation", labels, content, label, pool) for label in range(len(front))]
    if groups is None:
        first = [members[:n] for members, n in zip(order, front.tolist(), strict=True)]
        last = [members[len(members) - n :] for members, n in zip(order, back.tolist(), strict=True)]
        return _mask(first, len(labels)), _mask(last, len(labels))
    counts = np.bincount(labels, minlength=len(front))
    limits = (None, None) if eligible is None else (counts // 2, np.minimum(counts, 1))
    one, other = share_out_groups(labels, groups, order, (front, back), *limits)
    return one, other


def _in_order(
    stream: str, labels: NDArray[np.int64], content: NDArray[Any], label: int, pool: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those positions of `pool` that are of a class, in an order that the stream's name and the content decide."""
    members = pool[labels[pool] == label]
    members = members[np.argsort(content[members], kind="stable")]
    return np.asarray(members[generator(0, stream, label).permutation(len(members))])


def _mask(chosen: list[NDArray[np.int64]], n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, dtype=bool)
    mask[np.concatenate([np.empty(0, dtype=np.int64), *chosen])] = True
    return mask


def fixed_part(
    labels: NDArray[np.int64], content: NDArray[Any], n: int, groups: NDArray[Any] | None = None
) -> NDArray[np.bool_]:
    """Chooses `n` examples with every class in proportion, by content alone; a larger part holds the smaller ones.

    Args:
        groups: `(n,)`; they are kept whole, so the number is only as near to `n` as they allow, and parts of different
            sizes need not be nested.
    """
    quotas = apportion(n, np.bincount(labels).tolist())
    pool = np.arange(len(labels))
    order = [_in_order("part", labels, content, label, pool) for label in range(len(quotas))]
    if groups is not None:
        return share_out_groups(labels, groups, order, (np.array(quotas, dtype=np.int64),))[0]
    return _mask([members[:quota] for members, quota in zip(order, quotas, strict=True)], len(labels))


def fold_units(examples: Examples) -> NDArray[np.int64]:
    """`(n,)` numbers of what must share a fold: copies of one content, and members of one group."""
    return linked(content_ranks(examples), examples.groups)


def assign_folds(examples: Examples, folds: int, seed: int) -> NDArray[np.int64]:
    """`(n,)` fold of each example: every class in proportion, by content and seed, whatever the order.

    Copies share a fold, or the model of the other folds would have seen them; so do the members of a group.
    """
    order = by_content(examples)
    units, first, unit = np.unique(fold_units(examples)[order], return_index=True, return_inverse=True)
    labels = examples.labels[order][first]
    _, copy = np.unique(content_ranks(examples)[order], return_index=True)
    weights = np.bincount(unit[copy], minlength=len(units))
    # Large units first, so that small ones even them out.
    shuffled = np.lexsort((generator(seed, "folds").random(len(units)), -weights, labels))
    fold_of = np.empty(len(units), dtype=np.int64)
    total, label_before, of_class = [0] * folds, -1, [0] * folds
    for number, label, weight in zip(shuffled, labels[shuffled].tolist(), weights[shuffled].tolist(), strict=True):
        if label != label_before:
            label_before, of_class = label, [0] * folds
        fold = min(range(folds), key=lambda each: (of_class[each], total[each]))
        fold_of[number] = fold
        of_class[fold] += weight
        total[fold] += weight
    result = np.empty(len(order), dtype=np.int64)
    result[order] = fold_of[unit]
    return result


def even_quotas(available: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """`(classes,)` how many to take of each class so that they differ as little as possible.

    A class that has too few gives all it has, and the others give more; the remainder of the division goes to the first
    classes that have it.
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


def shared_quotas(
    available: NDArray[np.int64], n_front: int, n_back: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`(classes,)` quotas of two sets that choose from the same examples, each as even as possible.

    A class that has too few for both is shared in proportion to the sizes of the sets, so that neither lacks it; the
    other classes give each set the same number, whatever the size of the other set.

    Args:
        available: at least 2 of each class where `n_back` is not 0.
        n_front: examples of the first set, of which every class keeps at least one; fewer where too few are left.
        n_back: examples of the second set, at least one and at most `available - 1` of each class.
    """
    if not n_back:
        return even_quotas(available, n_front), np.zeros_like(available)
    most = available - 1
    total = min(n_front + n_back, int(available.sum()))
    scarce = even_quotas(available, total) == available
    held = available[scarce]
    part = round(int(held.sum()) * n_back / total)
    limit = most.copy()
    limit[scarce] = np.clip(apportion(part, held.tolist()), 1, most[scarce])
    back = even_quotas(limit, n_back)
    # Where rounding leaves some over, they come from what the first set does not need of each class.
    back += even_quotas(most - back, n_back - int(back.sum()))
    return even_quotas(available - back, n_front), back
