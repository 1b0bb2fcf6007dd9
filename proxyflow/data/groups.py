"""Splits that keep the members of a group together, as near to the requested sizes as whole groups allow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


class Inseparable(Exception):
    """A class whose groups are too few for the sets that each need one of its examples.

    Attributes:
        label: the class.
        members: positions of one example of each of its groups.
    """

    def __init__(self, label: int, members: NDArray[np.int64]) -> None:
        super().__init__(f"class {label} has examples in {len(members)} groups only")
        self.label, self.members = label, members


def share_out_groups(
    labels: NDArray[np.int64],
    groups: NDArray[Any],
    in_order: Sequence[NDArray[np.int64]],
    quotas: Sequence[Counts],
    limit: Counts | None = None,
    needed: Counts | None = None,
) -> list[NDArray[np.bool_]]:
    """Shares out whole groups over sets, each of which should have so many examples of every class.

    Class by class, each set takes groups in the given order (every second set from its end) while that brings its
    counts nearer to its quotas, summed over classes. A set that still lacks a class with a quota then gets the smallest
    group that can be spared elsewhere.

    Args:
        labels: `(n,)` of all examples.
        groups: `(n,)` of all examples.
        in_order: for each class its examples that may be chosen, as positions in an order that their content decides.
            Examples of groups that may not be chosen must be absent.
        quotas: for each set `(classes,)` how many examples it should have.
        limit: `(classes,)` how many examples all sets together take at most of each class.
        needed: `(classes,)` how many examples of each class no set may take.

    Returns:
        for each set an `(n,) bool` mask.

    Raises:
        Inseparable: a class has too few groups.
    """
    sharing = _Sharing(labels, groups, in_order, len(quotas), limit)
    sharing.fill(quotas)
    rest = np.zeros(len(in_order), dtype=np.int64) if needed is None else needed
    least = np.stack([rest, *(np.minimum(quota, 1) for quota in quotas)])
    lacking = list(zip(*np.nonzero(least > sharing.held), strict=True))
    for number, label in lacking:
        sharing.repair(int(number), int(label), least)
    if lacking:
        sharing.fill(quotas)
    return [np.asarray((sharing.place == number)[sharing.group_of]) for number in range(1, len(quotas) + 1)]


class _Sharing:
    """Which set each group is in.

    Attributes:
        group_of: `(n,)` number of each example's group.
        order: for each class its groups that may be chosen, in the given order.
        place: `(groups,)` the set of each group, 0 for none.
        held: `(sets + 1, classes)` examples in each set; row 0 are those in none.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        groups: NDArray[Any],
        in_order: Sequence[NDArray[np.int64]],
        sets: int,
        limit: Counts | None,
    ) -> None:
        classes = len(in_order)
        self.group_of = group_numbers(groups)
        pairs, self.counts = np.unique(self.group_of * classes + labels, return_counts=True)
        self.classes = pairs % classes
        self.begins = np.searchsorted(pairs // classes, np.arange(self.group_of.max(initial=-1) + 2))
        self.order = [_first_seen(self.group_of[members]) for members in in_order]
        self.place = np.zeros(len(self.begins) - 1, dtype=np.int64)
        self.held = np.zeros((sets + 1, classes), dtype=np.int64)
        self.held[0] = np.bincount(labels, minlength=classes)
        self.most = self.held[0].copy() if limit is None else limit

    def of(self, group: int) -> tuple[NDArray[np.int64], Counts]:
        """The classes of a group's examples, and how many it has of each."""
        part = slice(self.begins[group], self.begins[group + 1])
        return self.classes[part], self.counts[part]

    def move(self, group: int, number: int) -> None:
        """Puts a group into a set."""
        classes, counts = self.of(group)
        self.held[self.place[group], classes] -= counts
        self.held[number, classes] += counts
        self.place[group] = number

    def fill(self, quotas: Sequence[Counts]) -> None:
        """Moves groups that are in no set into the sets while that brings these nearer to their quotas."""
        for number, quota in enumerate(quotas, start=1):
            for label, order in enumerate(self.order):
                self._fill(number, label, order if number % 2 else order[::-1], quota)

    def _fill(self, number: int, label: int, order: Iterable[int], quota: Counts) -> None:
        for group in order:
            if self.held[number, label] >= quota[label]:
                return
            if self.place[group]:
                continue
            classes, counts = self.of(group)
            lacking = (quota - self.held[number])[classes]
            nearer = np.abs(lacking - counts).sum() < np.abs(lacking).sum()
            if nearer and (self.held[1:, classes].sum(axis=0) + counts <= self.most[classes]).all():
                self.move(group, number)

    def repair(self, number: int, label: int, least: NDArray[np.int64]) -> None:
        """Gives a set the smallest group of a class that can be spared elsewhere."""
        if self.held[number, label] >= least[number, label]:
            return
        order = self.order[label]
        sizes = [int(self.of(group)[1].sum()) for group in order]
        for place in np.argsort(sizes, kind="stable"):
            group = order[place]
            donor, (classes, counts) = self.place[group], self.of(group)
            if donor != number and (self.held[donor, classes] - counts >= least[donor, classes]).all():
                self.move(group, number)
                return
        raise Inseparable(label, np.array([int(np.argmax(self.group_of == group)) for group in order], dtype=np.int64))


def group_numbers(groups: NDArray[Any]) -> Counts:
    """`(n,) int64` number of each example's group; nothing depends on which number a group has."""
    import pandas as pd  # delayed for start-up time; it hashes names, which takes a tenth of the time of sorting them

    return np.asarray(pd.factorize(groups)[0], dtype=np.int64)


def _first_seen(values: NDArray[np.int64]) -> list[int]:
    """Each value once, in the order in which they first occur."""
    return list(dict.fromkeys(values.tolist()))


def linked(content: NDArray[np.int64], groups: NDArray[Any] | None) -> NDArray[np.int64]:
    """`(n,)` numbers of the units that examples form: copies of one content, and members of one group, are together.

    Args:
        content: `(n,)` number of each example's content, from 0. Units are numbered in its order.
    """
    unit = content
    if groups is None:
        return unit
    group = group_numbers(groups)
    while True:
        before = unit
        for of in (group, content):
            least = np.full(of.max(initial=-1) + 1, len(content), dtype=np.int64)
            np.minimum.at(least, of, unit)
            unit = least[of]
        if np.array_equal(unit, before):
            return np.asarray(np.unique(unit, return_inverse=True)[1])
